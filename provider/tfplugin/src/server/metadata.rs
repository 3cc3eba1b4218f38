//! What the provider has and can: names without schemas, schemas, capabilities.

use metal_proto::tfplugin6 as pb;

use super::{Service, wire};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::schema::Schema;
use wire::Block;

impl Service {
    /// Every type name and function name, in the order of the names.
    pub(super) fn metadata(&self) -> pb::get_metadata::Response {
        use pb::get_metadata::{
            ActionMetadata, DataSourceMetadata, EphemeralResourceMetadata, FunctionMetadata,
            ListResourceMetadata, ResourceMetadata,
        };
        let resource = |(name, _): (&str, _)| ResourceMetadata {
            type_name: name.to_owned(),
        };
        let data = |(name, _): (&str, _)| DataSourceMetadata {
            type_name: name.to_owned(),
        };
        let function = |(name, _): (&str, _)| FunctionMetadata {
            name: name.to_owned(),
        };
        let ephemeral = |(name, _): (&str, _)| EphemeralResourceMetadata {
            type_name: name.to_owned(),
        };
        let list = |(name, _): (&str, _)| ListResourceMetadata {
            type_name: name.to_owned(),
        };
        let action = |(name, _): (&str, _)| ActionMetadata {
            type_name: name.to_owned(),
        };
        pb::get_metadata::Response {
            server_capabilities: Some(capabilities()),
            diagnostics: wire::diagnostics(self.mistakes()),
            resources: self.runtime.resource_schemas().map(resource).collect(),
            data_sources: self.runtime.data_source_schemas().map(data).collect(),
            functions: self.runtime.signatures().map(function).collect(),
            ephemeral_resources: self.runtime.ephemeral_schemas().map(ephemeral).collect(),
            list_resources: self.runtime.list_schemas().map(list).collect(),
            actions: self.runtime.action_schemas().map(action).collect(),
        }
    }

    /// Every schema. Hosts skip the families that they do not know.
    pub(super) fn schemas(&self) -> pb::get_provider_schema::Response {
        let stored = |(name, schema): (&'static str, &Schema)| {
            (name.to_owned(), wire::schema(schema, Block::Stored))
        };
        // Nothing is computed in it.
        let config = |(name, schema): (&'static str, &Schema)| {
            (name.to_owned(), wire::schema(schema, Block::Provider))
        };
        let action = |(name, schema): (&'static str, &Schema)| {
            let schema = Some(wire::schema(schema, Block::Provider));
            (name.to_owned(), pb::ActionSchema { schema })
        };
        pb::get_provider_schema::Response {
            provider: Some(wire::schema(self.runtime.schema(), Block::Provider)),
            provider_meta: self
                .runtime
                .meta_schema()
                .map(|s| wire::schema(s, Block::Provider)),
            resource_schemas: self.runtime.resource_schemas().map(stored).collect(),
            data_source_schemas: self.runtime.data_source_schemas().map(stored).collect(),
            diagnostics: wire::diagnostics(self.mistakes()),
            server_capabilities: Some(capabilities()),
            functions: self.functions(),
            ephemeral_resource_schemas: self.runtime.ephemeral_schemas().map(stored).collect(),
            list_resource_schemas: self.runtime.list_schemas().map(config).collect(),
            action_schemas: self.runtime.action_schemas().map(action).collect(),
        }
    }

    pub(super) fn mistakes(&self) -> Diagnostics {
        let mut found = Diagnostics::new();
        let all = self.runtime.mistakes().iter().cloned();
        found.extend(all.map(Diagnostic::provider_bug));
        found
    }
}

/// Only what is true: a host relies on each of them.
pub(super) fn capabilities() -> pb::ServerCapabilities {
    pb::ServerCapabilities {
        plan_destroy: true,
        get_provider_schema_optional: true,
        move_resource_state: true,
        generate_resource_config: true,
    }
}
