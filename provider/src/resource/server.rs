//! `metal_server`: the inventory. Its create waits for the first look at the hardware; its delete forgets the server.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use metal_proto::metal::v1::watch_request::Subject;
use metal_proto::metal::v1::{
    self as api, DeleteServerRequest, ListServersRequest, Named, PutServerRequest,
};
use tfplugin::schema::{Rule, validators};
use tfplugin::{
    Change, Context, DefaultTimeouts, Diagnostics, Failed, Field, Object, Plan, Resource, Saved,
    Schema, Timeouts, async_trait, choices, model,
};

use crate::client::Session;
use crate::hardware::Hardware;
use crate::{diag, id};

/// The resource.
pub struct Server(pub(crate) Arc<Session>);

model! {
    /// A server.
    pub struct State {
        /// Name of the server, and its id. Default: made from its identity.
        pub name: String = optional_computed().use_state_for_unknown().requires_replace().validate(id::name()),
        /// MAC address of the interface that it boots from.
        pub mac: String = optional().validate(id::mac()),
        /// SMBIOS UUID.
        pub uuid: String = optional(),
        /// SMBIOS serial number.
        pub serial: String = optional(),
        /// The baseboard management controller. Without it a person presses the power button.
        pub bmc: Bmc = optional().rule(Rule::at_most_one_of([Bmc::credentials.name(), Bmc::username.name()])),
        /// Whether the server may be powered and written. One that is not accepted is never touched.
        pub accepted: bool = optional().default(false),
        /// Labels that classes can ask for.
        pub labels: BTreeMap<String, String> = optional(),
        /// Where it stands.
        pub location: Location = optional(),
        /// Further kernel arguments of every netboot.
        pub boot_args: Vec<String> = optional(),
        /// What a free server does: `off` or held in the agent.
        pub idle: Idle = optional().default("off"),
        /// Whether to netboot the agent once to learn the hardware; creation waits for it.
        pub inspect: bool = optional().default(true),
        /// What destroying this resource does to the server.
        pub on_destroy: OnDestroy = optional().default("release"),
        /// The server's id.
        pub id: String = computed().use_state_for_unknown(),
        /// What was found in it.
        pub hardware: Hardware = computed().use_state_for_unknown(),
        /// How long operations may take.
        pub timeouts: Timeouts = optional().local(),
    }
}

model! {
    /// A BMC.
    pub struct Bmc {
        /// IP address or host name.
        pub address: String = required().validate(validators::not_empty()),
        /// How it is spoken to; `manual`: a person is.
        pub protocol: Protocol = optional().default("ipmi"),
        /// UDP port. Default: 623.
        pub port: u16 = optional(),
        /// Name of credentials that `metalctl credentials set` stored in bootd.
        pub credentials: String = optional().validate(id::name()),
        /// User, in place of named credentials.
        pub username: String = optional(),
        /// The user's password; kept sealed in bootd.
        pub password_wo: String = optional().write_only(),
        /// Raise it to send a changed password.
        pub password_wo_version: u32 = optional(),
    }
}

model! {
    /// Where a server stands.
    pub struct Location {
        /// Row.
        pub site_row: String = optional(),
        /// Rack; `spread_by` of claims looks at it.
        pub rack: String = optional(),
        /// Unit.
        pub unit: String = optional(),
    }
}

choices! {
    /// How a BMC is spoken to.
    pub enum Protocol {
        /// IPMI 2.0.
        Ipmi = "ipmi",
        /// Not at all.
        Manual = "manual",
    }
}

choices! {
    /// What a free server does.
    pub enum Idle {
        /// Is off.
        Off = "off",
        /// Waits in the agent.
        Hold = "hold",
    }
}

choices! {
    /// What destroy does.
    pub enum OnDestroy {
        /// Leaves it as it is.
        Release = "release",
        /// Turns it off.
        PowerOff = "power_off",
    }
}

#[async_trait]
impl Resource for Server {
    fn type_name(&self) -> &'static str {
        "metal_server"
    }

    fn schema(&self) -> Schema {
        Schema::of::<State>(
            "A server of the inventory. Creating it takes minutes: the server netboots once to be looked at (`inspect`). \
             Destroying it forgets the server and writes nothing; it is an error while a claim holds the server.",
        )
        .rule(Rule::at_least_one_of([State::mac.name(), State::uuid.name(), State::serial.name()]))
    }

    fn default_timeouts(&self) -> DefaultTimeouts {
        DefaultTimeouts {
            create: minutes(20),
            ..DefaultTimeouts::default()
        }
    }

    async fn plan(&self, _cx: &Context, plan: &mut Plan, _found: &mut Diagnostics) {
        let config: State = plan.config();
        let planned: State = plan.planned();
        let name = match (&config.name, planned.name) {
            (Field::Null, Field::Unknown) => identity(&config),
            (_, name) => name,
        };
        if config.name.is_null() {
            plan.set(State::name, name.clone());
        }
        plan.set(State::id, name.clone());
        if config.inspect == Field::Known(false) && plan.is_create() {
            plan.set(State::hardware, Field::<Hardware>::Null);
        }
        if let (Some(name), true) = (name.known(), plan.changes_anything()) {
            self.0.memory().plan_server(name);
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn read(&self, cx: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let mut state: State = state.model();
        let name = state.id.known().cloned().unwrap_or_default();
        let found = self
            .0
            .find(cx, |mut api| {
                let name = name.clone();
                async move { api.read_server(Named { name }).await }
            })
            .await?;
        let Some(api::Server {
            config: Some(config),
            status,
        }) = found
        else {
            return Ok(None);
        };
        let own = |text: &str, field: &Field<String>| {
            if text.is_empty() && field.is_null() {
                Field::Null
            } else {
                Field::from(text)
            }
        };
        state.name = config.name.as_str().into();
        state.mac = own(&config.mac, &state.mac);
        state.uuid = own(&config.uuid, &state.uuid);
        state.serial = own(&config.serial, &state.serial);
        state.accepted = config.accepted.into();
        if !(config.labels.is_empty() && state.labels.is_null()) {
            state.labels = config.labels.into_iter().collect::<BTreeMap<_, _>>().into();
        }
        state.hardware = status.and_then(|s| s.hardware).map(Hardware::from).into();
        Ok(Some(Saved::new(state)))
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let state: State = state.model();
        let name = state.id.into_known().unwrap_or_default();
        let request = DeleteServerRequest { name, force: false };
        self.0
            .find(cx, |mut api| {
                let request = request.clone();
                async move { api.delete_server(request).await }
            })
            .await?;
        Ok(())
    }

    async fn import(&self, cx: &Context, id: &str) -> Result<Saved, Failed> {
        let all = self
            .0
            .call(cx, |mut api| async move {
                api.list_servers(ListServersRequest::default()).await
            })
            .await?
            .servers;
        let same = |server: &api::Server| {
            let config = server.config.clone().unwrap_or_default();
            let bmc = config.bmc.map(|b| b.address).unwrap_or_default();
            let address = server.status.clone().unwrap_or_default().address;
            match id.split_once(':') {
                Some(("mac", mac)) => config.mac.eq_ignore_ascii_case(mac),
                Some(("uuid", uuid)) => config.uuid.eq_ignore_ascii_case(uuid),
                Some(("serial", serial)) => config.serial == serial,
                Some(("bmc", wanted)) => bmc == wanted,
                Some(("address", wanted)) => address == wanted,
                Some(_) | None => config.name == id,
            }
        };
        let found = all.into_iter().find(same).and_then(|s| s.config);
        let config = found.ok_or_else(|| diag::import_missing("server", id))?;
        let state = State {
            name: config.name.clone().into(),
            id: config.name.into(),
            ..State::default()
        };
        Ok(Saved::new(state))
    }
}

impl Server {
    async fn put(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let mut state: State = change.planned();
        let typed: State = change.config();
        let config = config(&state);
        let name = config.name.clone();
        let bmc_password = typed
            .bmc
            .into_known()
            .and_then(|b| b.password_wo.into_known())
            .unwrap_or_default();
        let request = PutServerRequest {
            config: Some(config),
            bmc_password,
        };
        self.0
            .call(cx, |mut api| {
                let request = request.clone();
                async move { api.put_server(request).await }
            })
            .await?;
        state.hardware = Field::Null;
        cx.checkpoint(state.clone());
        if state.inspect != Field::Known(false) {
            let subject = Subject::ServerInspected(name.clone());
            let waited = self
                .0
                .watch(cx, subject, &format!("The inspection of {name}"))
                .await;
            waited.map_err(|why| Failed::with_state(state.clone(), why))?;
        }
        let find = self.0.find(cx, |mut api| {
            let name = name.clone();
            async move { api.read_server(Named { name }).await }
        });
        let server = find
            .await
            .map_err(|why| Failed::with_state(state.clone(), why))?;
        state.hardware = server
            .and_then(|s| s.status)
            .and_then(|s| s.hardware)
            .map(Hardware::from)
            .into();
        self.0.memory().settle_server(&name);
        Ok(Saved::new(state))
    }
}

/// A name from the identity; unknown while that is.
fn identity(config: &State) -> Field<String> {
    for (prefix, field) in [
        ("mac", &config.mac),
        ("uuid", &config.uuid),
        ("serial", &config.serial),
    ] {
        match field {
            Field::Unknown => return Field::Unknown,
            Field::Known(text) => {
                let clean: String = text
                    .to_lowercase()
                    .chars()
                    .filter(char::is_ascii_alphanumeric)
                    .collect();
                return Field::Known(format!("{prefix}-{clean}"));
            }
            Field::Null => {}
        }
    }
    Field::Unknown
}

fn config(state: &State) -> api::ServerConfig {
    let text = |field: &Field<String>| field.known().cloned().unwrap_or_default();
    let location = state.location.known().map(|l| api::Location {
        site_row: text(&l.site_row),
        rack: text(&l.rack),
        unit: text(&l.unit),
    });
    api::ServerConfig {
        name: text(&state.name),
        mac: text(&state.mac).to_lowercase(),
        uuid: text(&state.uuid).to_lowercase(),
        serial: text(&state.serial),
        bmc: state.bmc.known().map(bmc),
        accepted: state.accepted.known().copied().unwrap_or_default(),
        labels: state
            .labels
            .known()
            .cloned()
            .unwrap_or_default()
            .into_iter()
            .collect(),
        location,
        boot_args: state.boot_args.known().cloned().unwrap_or_default(),
        idle: match state.idle.known() {
            Some(Idle::Hold) => api::Idle::Hold.into(),
            Some(Idle::Off) | None => api::Idle::Off.into(),
        },
        inspect: state.inspect.known().copied().unwrap_or(true),
        on_destroy: match state.on_destroy.known() {
            Some(OnDestroy::PowerOff) => api::OnDestroy::PowerOff.into(),
            Some(OnDestroy::Release) | None => api::OnDestroy::Release.into(),
        },
    }
}

fn bmc(bmc: &Bmc) -> api::Bmc {
    let text = |field: &Field<String>| field.known().cloned().unwrap_or_default();
    api::Bmc {
        address: text(&bmc.address),
        protocol: match bmc.protocol.known() {
            Some(Protocol::Manual) => api::BmcProtocol::Manual.into(),
            Some(Protocol::Ipmi) | None => api::BmcProtocol::Ipmi.into(),
        },
        port: bmc.port.known().copied().map_or(0, u32::from),
        credentials: text(&bmc.credentials),
        username: text(&bmc.username),
    }
}

fn minutes(n: u64) -> Duration {
    Duration::from_secs(n * 60)
}
