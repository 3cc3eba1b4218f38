//! Plan, apply, refresh and import of one resource, as a host does them one after the other.

use metal_proto::tfplugin6 as pb;
use serde_json::Value as Json;
use tonic::{Response, Status};

use crate::host::{Host, told};
use crate::value::{pack, unpack};

/// What the host knows of a resource.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Known {
    pub(crate) state: Json,
    pub(crate) identity: Json,
    pub(crate) private: Vec<u8>,
    pub(crate) said: String,
    pub(crate) deferred: Option<i32>,
    pub(crate) replace: Vec<String>,
}

/// What this host can.
#[derive(Clone, Copy)]
pub(crate) enum Can {
    /// All that Terraform 1.14 can without experiments.
    Much,
    /// Deferral, too.
    Defer,
}

fn capabilities(can: Can) -> Option<pb::ClientCapabilities> {
    Some(pb::ClientCapabilities {
        deferral_allowed: matches!(can, Can::Defer),
        write_only_attributes_allowed: true,
    })
}

fn data(identity: &Json) -> Option<pb::ResourceIdentityData> {
    (!identity.is_null()).then(|| pb::ResourceIdentityData {
        identity_data: pack(identity),
    })
}

fn path(path: &pb::AttributePath) -> String {
    use pb::attribute_path::step::Selector;
    let step = |s: &pb::attribute_path::Step| match &s.selector {
        Some(Selector::AttributeName(name)) => name.clone(),
        Some(Selector::ElementKeyString(key)) => key.clone(),
        Some(Selector::ElementKeyInt(i)) => i.to_string(),
        None => String::new(),
    };
    path.steps.iter().map(step).collect::<Vec<_>>().join(".")
}

/// What every answer about a resource has.
fn known(
    state: Option<&pb::DynamicValue>,
    identity: Option<&pb::ResourceIdentityData>,
    diagnostics: &[pb::Diagnostic],
) -> Known {
    Known {
        state: unpack(state),
        identity: unpack(identity.and_then(|d| d.identity_data.as_ref())),
        said: told(diagnostics),
        ..Known::default()
    }
}

fn answered<T>(answer: Result<Response<T>, Status>) -> T {
    answer.unwrap().into_inner()
}

fn reason(deferred: Option<pb::Deferred>) -> Option<i32> {
    deferred.map(|d| d.reason)
}

impl Host {
    /// Validates a configuration; what is said.
    pub(crate) async fn validate(&mut self, kind: &str, config: &Json) -> String {
        let request = pb::validate_resource_config::Request {
            type_name: kind.to_owned(),
            config: pack(config),
            client_capabilities: capabilities(Can::Much),
        };
        let answer = answered(self.provider.validate_resource_config(request).await);
        told(&answer.diagnostics)
    }

    /// Plans; a null configuration is a deletion.
    pub(crate) async fn plan(&mut self, kind: &str, before: &Known, config: &Json) -> Known {
        self.plan_as(Can::Much, kind, before, config).await
    }

    pub(crate) async fn plan_as(
        &mut self,
        can: Can,
        kind: &str,
        before: &Known,
        config: &Json,
    ) -> Known {
        let request = pb::plan_resource_change::Request {
            provider_meta: None,
            type_name: kind.to_owned(),
            prior_state: pack(&before.state),
            proposed_new_state: pack(config),
            config: pack(config),
            prior_private: before.private.clone(),
            client_capabilities: capabilities(can),
            prior_identity: data(&before.identity),
        };
        let a = answered(self.provider.plan_resource_change(request).await);
        Known {
            private: a.planned_private,
            deferred: reason(a.deferred),
            replace: a.requires_replace.iter().map(path).collect(),
            ..known(
                a.planned_state.as_ref(),
                a.planned_identity.as_ref(),
                &a.diagnostics,
            )
        }
    }

    /// Applies what was planned.
    pub(crate) async fn apply(
        &mut self,
        kind: &str,
        before: &Known,
        planned: &Known,
        config: &Json,
    ) -> Known {
        let request = pb::apply_resource_change::Request {
            provider_meta: None,
            type_name: kind.to_owned(),
            prior_state: pack(&before.state),
            planned_state: pack(&planned.state),
            config: pack(config),
            planned_private: planned.private.clone(),
            planned_identity: data(&planned.identity),
        };
        let a = answered(self.provider.apply_resource_change(request).await);
        Known {
            private: a.private,
            ..known(
                a.new_state.as_ref(),
                a.new_identity.as_ref(),
                &a.diagnostics,
            )
        }
    }

    /// Plans and applies, expecting no message.
    pub(crate) async fn make(&mut self, kind: &str, before: &Known, config: &Json) -> Known {
        let planned = self.plan(kind, before, config).await;
        assert_eq!(planned.said, "");
        let made = self.apply(kind, before, &planned, config).await;
        assert_eq!(made.said, "");
        made
    }

    /// Refreshes.
    pub(crate) async fn refresh(&mut self, can: Can, kind: &str, before: &Known) -> Known {
        let request = pb::read_resource::Request {
            provider_meta: None,
            type_name: kind.to_owned(),
            current_state: pack(&before.state),
            private: before.private.clone(),
            client_capabilities: capabilities(can),
            current_identity: data(&before.identity),
        };
        let a = answered(self.provider.read_resource(request).await);
        Known {
            private: a.private,
            deferred: reason(a.deferred),
            ..known(
                a.new_state.as_ref(),
                a.new_identity.as_ref(),
                &a.diagnostics,
            )
        }
    }

    /// Imports by id, or by identity where one is given.
    pub(crate) async fn import(&mut self, can: Can, kind: &str, id: &str, by: &Json) -> Known {
        let request = pb::import_resource_state::Request {
            type_name: kind.to_owned(),
            id: id.to_owned(),
            client_capabilities: capabilities(can),
            identity: data(by),
        };
        let a = answered(self.provider.import_resource_state(request).await);
        let one = a.imported_resources.first();
        Known {
            deferred: reason(a.deferred),
            ..known(
                one.and_then(|r| r.state.as_ref()),
                one.and_then(|r| r.identity.as_ref()),
                &a.diagnostics,
            )
        }
    }
}
