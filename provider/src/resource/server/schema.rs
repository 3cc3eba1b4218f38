//! What `metal_server` may hold.

use std::collections::BTreeMap;

use tfplugin::schema::{Rule, Schema, Validator, validators};
use tfplugin::{Timeouts, Value, choices, model};

use crate::ids;
use crate::resource::hardware::Hardware;
use crate::resource::name;

choices! {
    /// How a BMC is spoken to.
    pub(crate) enum Protocol {
        /// IPMI 2.0 over the network.
        Ipmi = "ipmi",
        /// A person presses the button.
        Manual = "manual",
    }
}

choices! {
    /// How an idle box rests.
    pub(crate) enum Idle {
        /// Powered off.
        Off = "off",
        /// Held in the agent.
        Hold = "hold",
    }
}

choices! {
    /// What deletion does to the box.
    pub(crate) enum OnDestroy {
        /// Nothing.
        Release = "release",
        /// Powers it off.
        PowerOff = "power_off",
    }
}

model! {
    /// The board management controller.
    pub(crate) struct Bmc {
        /// Address or host name.
        pub(crate) address: String = required().validate(validators::not_empty()),
        /// How it is spoken to. `manual`: a person presses the power button when asked to.
        pub(crate) protocol: Protocol = optional().default("ipmi"),
        /// UDP port, if it is not the protocol's own (623).
        pub(crate) port: u16 = optional(),
        /// Name of a login kept in bootd: `metalctl credentials set NAME`. The better way: nothing secret passes through Terraform.
        pub(crate) credentials: String = optional().validate(validators::not_empty()),
        /// User name, where the login is not kept under a name.
        pub(crate) username: String = optional().validate(validators::not_empty()),
        /// Password of `username`. bootd seals it at once. A plan warns where it changed and its version did not: the private state
        /// keeps a salted and stretched fingerprint of it, never the password.
        pub(crate) password_wo: String = optional().sensitive().write_only(),
        /// Raise it to send a changed password.
        pub(crate) password_wo_version: i64 = optional(),
    }
}

model! {
    /// Where the box stands.
    pub(crate) struct Location {
        /// Row of the site.
        pub(crate) site_row: String = optional(),
        /// Rack; `spread_by = "rack"` of a claim looks at it.
        pub(crate) rack: String = optional(),
        /// Unit in the rack.
        pub(crate) unit: String = optional(),
    }
}

model! {
    /// A server of the site.
    pub(crate) struct Server {
        /// The server's name; known at plan.
        pub(crate) id: String = computed().use_state_for_unknown(),
        /// Name of the server. Left out, it is made from the identity, for example `mac-525400aabbcc`.
        pub(crate) name: String = optional_computed().use_state_for_unknown().requires_replace().validate(name()),
        /// Ethernet address of an interface that it boots from.
        pub(crate) mac: String = optional().validate(mac()).same_if(|a, b| same(ids::mac, a, b)),
        /// SMBIOS UUID.
        pub(crate) uuid: String = optional().validate(uuid()).same_if(|a, b| same(ids::uuid, a, b)),
        /// System serial number.
        pub(crate) serial: String = optional().validate(validators::not_empty()),
        /// Board management controller. Without one, a person presses the power button.
        pub(crate) bmc: Bmc = optional().rule(Rule::all_or_none_of([Bmc::password_wo.name(), Bmc::password_wo_version.name()])),
        /// Whether anything may ever be written to this server: claims take accepted servers only.
        pub(crate) accepted: bool = optional().default(false),
        /// Labels for classes to match.
        pub(crate) labels: BTreeMap<String, String> = optional(),
        /// Where the box stands.
        pub(crate) location: Location = optional(),
        /// More kernel arguments for the agent.
        pub(crate) boot_args: Vec<String> = optional(),
        /// How it rests while nothing claims it: powered off, or held in the agent (started once per rest). Default: bootd's (off where there is a BMC).
        pub(crate) idle: Idle = optional(),
        /// Boot the agent once to learn the hardware, and wait for that.
        pub(crate) inspect: bool = optional().default(true),
        /// What deletion does to the box besides forgetting it: `power_off` cuts the power first. A BMC that does not answer holds that
        /// up for bootd's power deadline at most, and the deletion warns.
        pub(crate) on_destroy: OnDestroy = optional().default("release"),
        /// What the agent found; null before the first inspection.
        pub(crate) hardware: Hardware = computed().use_state_for_unknown(),
        /// How long each operation may take. Default: create 20m, update 20m, delete 10m.
        pub(crate) timeouts: Timeouts = optional().local(),
    }
}

pub(super) fn schema() -> Schema {
    Schema::of::<Server>(
        "Inventory: one server, by MAC address, UUID or serial number, with its BMC.\n\n\
         **Time:** creation of an accepted server waits until the agent has reported the hardware (minutes; `inspect = false` waits for nothing). \
         **Destroy:** bootd forgets the server; no disk is touched. It fails while a claim holds the server or a wipe runs, and after a wipe that failed (`metalctl forget NAME --force` then forgets a dead box).",
    )
    .rule(Rule::at_least_one_of([Server::mac.name(), Server::uuid.name(), Server::serial.name()]))
}

fn mac() -> Validator {
    validators::text("an Ethernet address like `52:54:00:aa:bb:cc`", |t| {
        ids::mac(t)
            .map(|_| ())
            .ok_or_else(|| format!("{t:?} is not"))
    })
}

fn uuid() -> Validator {
    validators::text("a UUID like `4c4c4544-0042-3510-8052-b4c04f564432`", |t| {
        ids::uuid(t)
            .map(|_| ())
            .ok_or_else(|| format!("{t:?} is not"))
    })
}

fn same(normal: fn(&str) -> Option<String>, a: &Value, b: &Value) -> bool {
    let of = |v: &Value| v.as_str().and_then(normal);
    of(a).is_some() && of(a) == of(b)
}
