//! A configuration for a state, for `terraform plan -generate-config-out` and `terraform query`.

use metal_proto::tfplugin6 as pb;

use crate::diagnostics::Diagnostic;
use crate::server::{Service, wire};

impl Service {
    pub(super) fn generated(
        &self,
        m: &pb::generate_resource_config::Request,
    ) -> Result<pb::generate_resource_config::Response, Diagnostic> {
        let ty = self.resource_type(&m.type_name)?;
        let state = wire::read(m.state.as_ref(), ty)?.unwrap_or_default();
        let config = self.runtime.generate_config(&m.type_name, &state)?;
        Ok(pb::generate_resource_config::Response {
            config: Some(wire::write(Some(config), ty)?),
            diagnostics: Vec::new(),
        })
    }
}
