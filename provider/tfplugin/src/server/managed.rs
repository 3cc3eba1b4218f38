//! The life of a resource: messages in, answers of the runtime out, with what only some hosts know.

use metal_proto::tfplugin6 as pb;

use crate::deferral::{Deferral, Deferrals};
use crate::diagnostics::{Diagnostic, Diagnostics};
use crate::lifecycle::{Asked, ImportBy};
use crate::server::{Service, wire};
use crate::value::{Object, Type};

impl Service {
    pub(super) async fn plan(
        &self,
        m: pb::plan_resource_change::Request,
    ) -> Result<pb::plan_resource_change::Response, Diagnostic> {
        let (name, ty) = (&m.type_name, self.resource_type(&m.type_name)?);
        let prior = wire::read(m.prior_state.as_ref(), ty)?;
        // A proposal of null is a deletion; otherwise the engine makes its own from configuration and state.
        let proposed = wire::read(m.proposed_new_state.as_ref(), ty)?;
        let config = match proposed {
            None => None,
            Some(_) => Some(wire::read(m.config.as_ref(), ty)?.unwrap_or_default()),
        };
        let asked = Asked {
            private: m.prior_private,
            identity: self.read_identity(name, m.prior_identity.as_ref())?,
            deferrals: deferrals(m.client_capabilities.as_ref()),
            meta: self.meta(m.provider_meta.as_ref())?,
        };
        let planned = self.runtime.plan_for(name, prior, config, asked).await;
        Ok(pb::plan_resource_change::Response {
            planned_state: Some(wire::write(planned.state, ty)?),
            requires_replace: planned.replace.iter().map(wire::path).collect(),
            planned_private: planned.private,
            diagnostics: wire::diagnostics(planned.diagnostics),
            deferred: planned.deferred.map(deferred),
            planned_identity: self.write_identity(name, planned.identity)?,
        })
    }

    pub(super) async fn apply(
        &self,
        m: pb::apply_resource_change::Request,
    ) -> Result<pb::apply_resource_change::Response, Diagnostic> {
        let (name, ty) = (&m.type_name, self.resource_type(&m.type_name)?);
        let prior = wire::read(m.prior_state.as_ref(), ty)?;
        let planned = wire::read(m.planned_state.as_ref(), ty)?;
        let config = wire::read(m.config.as_ref(), ty)?;
        let asked = Asked {
            private: m.planned_private,
            identity: self.read_identity(name, m.planned_identity.as_ref())?,
            deferrals: Deferrals::Refused,
            meta: self.meta(m.provider_meta.as_ref())?,
        };
        let done = self
            .runtime
            .apply_for(name, prior, planned, config, asked)
            .await;
        let (state, mut diagnostics) = written(done.state, ty, done.diagnostics);
        let identity = self.write_identity(name, done.identity);
        let new_identity = identity.unwrap_or_else(|mistake| {
            diagnostics.push(mistake);
            None
        });
        Ok(pb::apply_resource_change::Response {
            new_state: state,
            private: done.private,
            diagnostics: wire::diagnostics(diagnostics),
            new_identity,
        })
    }

    pub(super) async fn read(
        &self,
        m: pb::read_resource::Request,
    ) -> Result<pb::read_resource::Response, Diagnostic> {
        let (name, ty) = (&m.type_name, self.resource_type(&m.type_name)?);
        let Some(state) = wire::read(m.current_state.as_ref(), ty)? else {
            return Ok(pb::read_resource::Response {
                new_state: m.current_state,
                ..Default::default()
            });
        };
        let asked = Asked {
            private: m.private,
            identity: self.read_identity(name, m.current_identity.as_ref())?,
            deferrals: deferrals(m.client_capabilities.as_ref()),
            meta: self.meta(m.provider_meta.as_ref())?,
        };
        let done = self.runtime.read_for(name, state, asked).await;
        Ok(pb::read_resource::Response {
            new_state: Some(wire::write(done.state, ty)?),
            private: done.private,
            diagnostics: wire::diagnostics(done.diagnostics),
            deferred: done.deferred.map(deferred),
            new_identity: self.write_identity(name, done.identity)?,
        })
    }

    pub(super) async fn import(
        &self,
        m: pb::import_resource_state::Request,
    ) -> Result<pb::import_resource_state::Response, Diagnostic> {
        let (name, ty) = (&m.type_name, self.resource_type(&m.type_name)?);
        let by = match self.read_identity(name, m.identity.as_ref())? {
            Some(identity) => ImportBy::Identity(identity),
            None => ImportBy::Id(m.id),
        };
        let asked = Asked {
            deferrals: deferrals(m.client_capabilities.as_ref()),
            ..Asked::default()
        };
        let done = self.runtime.import_for(name, by, asked).await;
        let state = match (done.state, done.deferred) {
            (None, None) => None,
            (None, Some(_)) => Some(wire::write_unknown(ty)?),
            (state, _) => Some(wire::write(state, ty)?),
        };
        let mut imported_resources = Vec::new();
        if state.is_some() {
            imported_resources.push(pb::import_resource_state::ImportedResource {
                type_name: name.clone(),
                state,
                private: done.private,
                identity: self.write_identity(name, done.identity)?,
            });
        }
        Ok(pb::import_resource_state::Response {
            imported_resources,
            diagnostics: wire::diagnostics(done.diagnostics),
            deferred: done.deferred.map(deferred),
        })
    }
}

/// Does this host take deferred answers? One that does not say so does not.
pub(super) fn deferrals(capabilities: Option<&pb::ClientCapabilities>) -> Deferrals {
    match capabilities {
        Some(c) if c.deferral_allowed => Deferrals::Allowed,
        _ => Deferrals::Refused,
    }
}

pub(super) fn deferred(why: Deferral) -> pb::Deferred {
    let reason = match why {
        Deferral::ResourceConfigUnknown => pb::deferred::Reason::ResourceConfigUnknown,
        Deferral::ProviderConfigUnknown => pb::deferred::Reason::ProviderConfigUnknown,
        Deferral::AbsentPrerequisite => pb::deferred::Reason::AbsentPrereq,
    };
    pb::Deferred {
        reason: reason.into(),
    }
}

/// What exists must reach the state even if some value of it cannot be written.
fn written(
    state: Option<Object>,
    ty: &Type,
    mut diagnostics: Diagnostics,
) -> (Option<pb::DynamicValue>, Diagnostics) {
    match wire::write(state.clone(), ty) {
        Ok(value) => (Some(value), diagnostics),
        Err(mistake) => {
            diagnostics.push(mistake);
            (state.map(|s| wire::write_what_fits(s, ty)), diagnostics)
        }
    }
}
