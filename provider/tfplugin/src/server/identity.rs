//! Identity between values and messages.

use std::collections::HashMap;

use metal_proto::tfplugin6 as pb;

use crate::diagnostics::Diagnostic;
use crate::identity::IdentitySchema;
use crate::schema::{Attribute, Presence};
use crate::server::{Service, one, wire};
use crate::value::{Object, Type};

impl Service {
    pub(super) fn identity_schemas(&self) -> pb::get_resource_identity_schemas::Response {
        let schemas = self.runtime.identity_schemas();
        pb::get_resource_identity_schemas::Response {
            identity_schemas: schemas
                .map(|(name, identity)| (name.to_owned(), schema(identity)))
                .collect::<HashMap<_, _>>(),
            diagnostics: wire::diagnostics(self.mistakes()),
        }
    }

    pub(super) async fn upgrade_identity(
        &self,
        m: pb::upgrade_resource_identity::Request,
    ) -> pb::upgrade_resource_identity::Response {
        let text = m.raw_identity.unwrap_or_default().json;
        let upgraded = self
            .runtime
            .upgrade_identity(&m.type_name, m.version, &text)
            .await;
        let written = upgraded.and_then(|(identity, found)| {
            Ok((self.write_identity(&m.type_name, identity)?, found))
        });
        match written {
            Ok((upgraded_identity, found)) => pb::upgrade_resource_identity::Response {
                upgraded_identity,
                diagnostics: wire::diagnostics(found),
            },
            Err(why) => pb::upgrade_resource_identity::Response {
                upgraded_identity: None,
                diagnostics: one(why),
            },
        }
    }

    /// The identity in a message; none where it is left out or null.
    pub(super) fn read_identity(
        &self,
        name: &str,
        data: Option<&pb::ResourceIdentityData>,
    ) -> Result<Option<Object>, Diagnostic> {
        match (data, self.identity_types.get(name)) {
            (Some(data), Some(ty)) => wire::read(data.identity_data.as_ref(), ty),
            _ => Ok(None),
        }
    }

    /// The message of an identity; none for a resource without.
    pub(super) fn write_identity(
        &self,
        name: &str,
        identity: Option<Object>,
    ) -> Result<Option<pb::ResourceIdentityData>, Diagnostic> {
        write(identity, self.identity_types.get(name))
    }
}

/// The message of an identity of type `ty`.
pub(super) fn write(
    identity: Option<Object>,
    ty: Option<&Type>,
) -> Result<Option<pb::ResourceIdentityData>, Diagnostic> {
    let (Some(identity), Some(ty)) = (identity, ty) else {
        return Ok(None);
    };
    Ok(Some(pb::ResourceIdentityData {
        identity_data: Some(wire::write(Some(identity), ty)?),
    }))
}

fn schema(identity: &IdentitySchema) -> pb::ResourceIdentitySchema {
    let attribute = |a: &Attribute| pb::resource_identity_schema::IdentityAttribute {
        name: a.name().to_owned(),
        r#type: a.shape().ty().to_json().to_string().into_bytes(),
        required_for_import: a.presence() == Presence::Required,
        optional_for_import: a.presence() == Presence::Optional,
        description: a.description(),
    };
    pb::ResourceIdentitySchema {
        version: identity.stored_version(),
        identity_attributes: identity.attributes().iter().map(attribute).collect(),
    }
}
