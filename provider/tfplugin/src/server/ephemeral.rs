//! Ephemeral resources on the wire. The clock is read here, and nowhere below.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use metal_proto::tfplugin6 as pb;
use prost_types::Timestamp;

use super::{Service, managed, one, wire};
use crate::diagnostics::Diagnostic;
use crate::value::{Object, Type};

impl Service {
    fn ephemeral_config(
        &self,
        name: &str,
        config: Option<&pb::DynamicValue>,
    ) -> Result<(Type, Object), Diagnostic> {
        let ty = self.runtime.ephemeral(name)?.schema.ty();
        let config = wire::read(config, &ty)?.unwrap_or_default();
        Ok((ty, config))
    }

    pub(super) async fn validate_ephemeral(
        &self,
        m: pb::validate_ephemeral_resource_config::Request,
    ) -> pb::validate_ephemeral_resource_config::Response {
        let diagnostics = match self.ephemeral_config(&m.type_name, m.config.as_ref()) {
            Ok((_, config)) => {
                wire::diagnostics(self.runtime.validate_ephemeral(&m.type_name, &config).await)
            }
            Err(why) => one(why),
        };
        pb::validate_ephemeral_resource_config::Response { diagnostics }
    }

    pub(super) async fn open(
        &self,
        m: pb::open_ephemeral_resource::Request,
    ) -> pb::open_ephemeral_resource::Response {
        let failed = |why| pb::open_ephemeral_resource::Response {
            diagnostics: one(why),
            ..Default::default()
        };
        let (ty, config) = match self.ephemeral_config(&m.type_name, m.config.as_ref()) {
            Ok(read) => read,
            Err(why) => return failed(why),
        };
        let deferrals = managed::deferrals(m.client_capabilities.as_ref());
        let now = SystemTime::now();
        let opened = self.runtime.open_for(&m.type_name, &config, now, deferrals);
        let lease = opened.await;
        match wire::write(lease.result, &ty) {
            Ok(result) => pb::open_ephemeral_resource::Response {
                diagnostics: wire::diagnostics(lease.diagnostics),
                renew_at: lease.renew_at.map(timestamp),
                result: Some(result),
                private: Some(lease.private),
                deferred: lease.deferred.map(managed::deferred),
            },
            Err(mistake) => {
                // The host will not close what it has not got.
                let mut found = lease.diagnostics;
                found.push(mistake);
                found.extend(self.runtime.close(&m.type_name, &lease.private).await);
                pb::open_ephemeral_resource::Response {
                    diagnostics: wire::diagnostics(found),
                    ..Default::default()
                }
            }
        }
    }

    pub(super) async fn renew(
        &self,
        m: pb::renew_ephemeral_resource::Request,
    ) -> pb::renew_ephemeral_resource::Response {
        let private = m.private.unwrap_or_default();
        let lease = self
            .runtime
            .renew(&m.type_name, &private, SystemTime::now())
            .await;
        pb::renew_ephemeral_resource::Response {
            diagnostics: wire::diagnostics(lease.diagnostics),
            renew_at: lease.renew_at.map(timestamp),
            private: Some(lease.private),
        }
    }

    pub(super) async fn close(
        &self,
        m: pb::close_ephemeral_resource::Request,
    ) -> pb::close_ephemeral_resource::Response {
        let private = m.private.unwrap_or_default();
        let found = self.runtime.close(&m.type_name, &private).await;
        pb::close_ephemeral_resource::Response {
            diagnostics: wire::diagnostics(found),
        }
    }
}

fn timestamp(at: SystemTime) -> Timestamp {
    let since: Duration = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_keep_their_nanoseconds() {
        // Windows counts hundreds of nanoseconds.
        let nanos = if cfg!(windows) {
            999_999_900
        } else {
            999_999_999
        };
        let at = timestamp(UNIX_EPOCH + Duration::new(1_795_247_251, nanos));
        assert_eq!((at.seconds, at.nanos), (1_795_247_251, nanos.cast_signed()));
        assert_eq!(timestamp(UNIX_EPOCH - Duration::from_secs(1)).seconds, 0);
    }
}
