//! `metal_server`: inventory. Writes nothing to a disk; deletion forgets.

pub(crate) mod schema;

use std::sync::Arc;
use std::time::Duration;

use tfplugin::{
    Change, Context, DefaultTimeouts, Diagnostics, Failed, Field, Object, Plan, Resource, Saved,
    Schema, async_trait,
};

use crate::api::{self, Subject};
use crate::ids::{self, KnownBy};
use crate::site::{self, Site};
use crate::{diag, password};
use schema::Server;

/// In the private state: the fingerprint of the password that was sent last.
const PASSWORD: &str = "bmc_password";

pub(crate) struct Servers(pub(crate) Arc<Site>);

#[async_trait]
impl Resource for Servers {
    fn type_name(&self) -> &'static str {
        "metal_server"
    }

    fn schema(&self) -> Schema {
        schema::schema()
    }

    fn default_timeouts(&self) -> DefaultTimeouts {
        DefaultTimeouts {
            delete: Duration::from_secs(10 * 60),
            ..DefaultTimeouts::default()
        }
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let server: Server = config.model();
        if let Field::Known(bmc) = &server.bmc
            && bmc.credentials.is_known()
            && bmc.username.is_known()
        {
            found.push(diag::login_twice());
        }
    }

    async fn plan(&self, cx: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let config: Server = plan.config();
        if let Some(prior) = plan.prior::<Server>()
            && version(&prior) == version(&config)
            && let (Some(kept), Some(password)) = (cx.private(PASSWORD), password(&config))
            && password::differs(&kept, password)
        {
            let id = prior.id.known().map_or("", String::as_str);
            found.push(diag::password_not_sent(&format!("server {id}")));
        }
        if let (true, Some(name)) = (plan.is_create(), planned_name(&config)) {
            if config.name.is_null() {
                plan.set(Server::name, name.clone());
            }
            plan.set(Server::id, name);
        }
        if let (true, Some(id)) = (plan.changes_anything(), plan.planned::<Server>().id.known()) {
            self.0.memory.server(id);
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let client = self.0.client()?;
        let prior: Server = state.model();
        let id = prior.id.known().cloned().unwrap_or_default();
        site::found(
            &format!("server {id}"),
            api::read_server(&client, &id, &prior).await,
        )
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let client = self.0.client()?;
        let id = state.at(Server::id).into_known().unwrap_or_default();
        site::call(
            cx,
            &client,
            &format!("server {id}"),
            api::delete_server(&client, &id),
        )
        .await?;
        // With on_destroy = "power_off" this takes as long as the BMC does.
        let what = format!("server {id}");
        site::wait(cx, &client, &what, Subject::ServerForgotten(id)).await?;
        Ok(())
    }

    async fn import(&self, _: &Context, id: &str) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let found = api::find_server(&client, id)
            .await
            .map_err(|e| diag::call(&format!("server {id}"), &e))?;
        Ok(Server {
            id: found.clone().into(),
            name: found.into(),
            ..Server::default()
        }
        .into())
    }
}

impl Servers {
    async fn put(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let mut server: Server = change.planned();
        let config: Server = change.config();
        if !server.name.is_known() {
            server.name = planned_name(&config).into();
        }
        let name = server.name.known().cloned().unwrap_or_default();
        let what = format!("server {name}");
        // Sent when it is new, and then only with a new version: what bootd has may have been changed there.
        let told = change.prior::<Server>().map(|p| version(&p));
        let sent = match password(&config) {
            Some(password) if told != Some(version(&config)) => password.clone(),
            Some(_) | None => String::new(),
        };
        let kept = match sent.as_str() {
            "" => None,
            password => password::fingerprint(password),
        };
        site::call(cx, &client, &what, api::put_server(&client, &server, sent)).await?;
        if kept.is_some() || password(&config).is_none() {
            cx.set_private(PASSWORD, kept);
        }
        server.id = name.clone().into();
        cx.checkpoint(server.clone());
        let is = |f: &Field<bool>| f.known().copied().unwrap_or_default();
        // A server that is not accepted is never started, so that there is nothing to wait for.
        if is(&server.inspect) && is(&server.accepted) {
            site::wait(cx, &client, &what, Subject::ServerInspected(name.clone()))
                .await
                .map_err(|d| Failed::with_state(server.clone(), d))?;
        }
        self.0.memory.server_done(&name);
        let seen = site::call(
            cx,
            &client,
            &what,
            api::read_server(&client, &name, &server),
        )
        .await
        .map_err(|d| Failed::with_state(server.clone(), d))?;
        if !server.hardware.is_known() {
            server.hardware = seen.hardware;
        }
        Ok(server.into())
    }
}

fn version(server: &Server) -> Option<i64> {
    server.bmc.known()?.password_wo_version.known().copied()
}

fn password(config: &Server) -> Option<&String> {
    config.bmc.known()?.password_wo.known()
}

/// The name, or the one that follows from the identity where that is known.
fn planned_name(config: &Server) -> Option<String> {
    if !config.name.is_null() {
        return config.name.known().cloned();
    }
    for (kind, field) in [
        (KnownBy::Mac, &config.mac),
        (KnownBy::Uuid, &config.uuid),
        (KnownBy::Serial, &config.serial),
    ] {
        match field {
            Field::Known(value) => return Some(ids::name_from_identity(kind, value)),
            Field::Unknown => return None,
            Field::Null => {}
        }
    }
    None
}
