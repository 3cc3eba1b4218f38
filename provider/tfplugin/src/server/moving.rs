//! States of another shape: older versions, other types.

use metal_proto::tfplugin6 as pb;

use crate::diagnostics::Diagnostic;
use crate::moving::MoveSource;
use crate::server::{Service, one, wire};

impl Service {
    pub(super) async fn upgrade(
        &self,
        m: pb::upgrade_resource_state::Request,
    ) -> pb::upgrade_resource_state::Response {
        let done = self.upgraded(m).await;
        done.unwrap_or_else(|why| pb::upgrade_resource_state::Response {
            upgraded_state: None,
            diagnostics: one(why),
        })
    }

    async fn upgraded(
        &self,
        m: pb::upgrade_resource_state::Request,
    ) -> Result<pb::upgrade_resource_state::Response, Diagnostic> {
        let (name, ty) = (&m.type_name, self.resource_type(&m.type_name)?);
        let text = text(name, m.raw_state)?;
        let done = self.runtime.upgrade_state(name, m.version, &text, ty).await;
        let upgraded_state = match done.diagnostics.has_errors() {
            true => None,
            false => Some(wire::write(done.state, ty)?),
        };
        Ok(pb::upgrade_resource_state::Response {
            upgraded_state,
            diagnostics: wire::diagnostics(done.diagnostics),
        })
    }

    pub(super) async fn moved(
        &self,
        m: pb::move_resource_state::Request,
    ) -> Result<pb::move_resource_state::Response, Diagnostic> {
        let (name, ty) = (
            &m.target_type_name,
            self.resource_type(&m.target_type_name)?,
        );
        let source = MoveSource {
            state: text(&m.source_type_name, m.source_state)?,
            provider: m.source_provider_address,
            type_name: m.source_type_name,
            schema_version: m.source_schema_version,
            identity: m.source_identity.unwrap_or_default().json,
            private: m.source_private,
        };
        let done = self.runtime.move_state(name, &source).await;
        let target_state = match done.state {
            None => None,
            state => Some(wire::write(state, ty)?),
        };
        Ok(pb::move_resource_state::Response {
            target_state,
            diagnostics: wire::diagnostics(done.diagnostics),
            target_private: done.private,
            target_identity: self.write_identity(name, done.identity)?,
        })
    }
}

/// A stored state's JSON.
fn text(name: &str, raw: Option<pb::RawState>) -> Result<Vec<u8>, Diagnostic> {
    let raw = raw.unwrap_or_default();
    if raw.json.is_empty() && !raw.flatmap.is_empty() {
        return Err(Diagnostic::error("State is too old")
            .detail(format!(
                "The state of `{name}` is in the form of Terraform 0.11."
            ))
            .hint("apply once with Terraform 0.12 or later"));
    }
    Ok(raw.json)
}
