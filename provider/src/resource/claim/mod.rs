//! `metal_server_claim`: one box, one claim. Creation takes seconds and is never tainted by waiting; deletion is the only wiper.

pub(crate) mod schema;

use std::sync::Arc;
use std::time::Duration;

use tfplugin::{
    Change, Context, DefaultTimeouts, Diagnostics, Failed, Field, Object, Plan, Resource, Saved,
    Schema, Value, async_trait,
};

use crate::api::{self, Picked, Subject};
use crate::client::{CallError, Client};
use crate::diag;
use crate::memory::ClassPlan;
use crate::site::{self, Site};
use schema::Claim;

pub(crate) struct Claims(pub(crate) Arc<Site>);

#[async_trait]
impl Resource for Claims {
    fn type_name(&self) -> &'static str {
        "metal_server_claim"
    }

    fn schema(&self) -> Schema {
        schema::schema()
    }

    fn default_timeouts(&self) -> DefaultTimeouts {
        DefaultTimeouts {
            create: Duration::from_secs(5 * 60),
            delete: Duration::from_secs(30 * 60),
            ..DefaultTimeouts::default()
        }
    }

    async fn plan(&self, _: &Context, plan: &mut Plan, found: &mut Diagnostics) {
        let config: Claim = plan.config();
        if plan.is_create() {
            if let Field::Known(name) = &config.name {
                plan.set(Claim::id, name.clone());
            }
            self.plan_box(plan, &config, found).await;
        } else if let Field::Known(server) = plan.planned::<Claim>().server_id {
            api::remember_claim(&self.0.memory, &server, &plan.planned());
        }
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let mut claim: Claim = change.planned();
        let what = what(&claim);
        let expected = claim.server_id.known().cloned().unwrap_or_default();
        let taken = site::call(
            cx,
            &client,
            &what,
            api::put_claim(&client, &change.config(), expected),
        )
        .await?;
        claim.id = claim.name.clone();
        // What was planned is what is stored: the box cannot differ, its details may have been reported again.
        fill(&mut claim, taken);
        Ok(claim.into())
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let mut claim: Claim = change.planned();
        let expected = claim.server_id.known().cloned().unwrap_or_default();
        let mut config: Claim = change.planned();
        if change.config::<Claim>().server_id.is_null() {
            config.server_id = Field::Null;
        }
        let taken = site::call(
            cx,
            &client,
            &what(&claim),
            api::put_claim(&client, &config, expected),
        )
        .await?;
        fill(&mut claim, taken);
        Ok(claim.into())
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let client = self.0.client()?;
        let prior: Claim = state.model();
        site::found(&what(&prior), api::read_claim(&client, &prior).await)
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let client = self.0.client()?;
        let claim: Claim = state.model();
        let name = claim.name.known().cloned().unwrap_or_default();
        let what = what(&claim);
        match site::call(
            cx,
            &client,
            &what,
            gone_is_done(api::release_claim(&client, &name)),
        )
        .await?
        {
            Released::Already => Ok(()),
            Released::Begun => {
                site::wait(cx, &client, &what, Subject::ClaimReleased(name)).await?;
                Ok(())
            }
        }
    }

    async fn import(&self, _: &Context, id: &str) -> Result<Saved, Failed> {
        Ok(Claim {
            id: id.into(),
            name: id.into(),
            ..Claim::default()
        }
        .into())
    }
}

enum Released {
    Begun,
    Already,
}

async fn gone_is_done(
    work: impl Future<Output = Result<(), CallError>>,
) -> Result<Released, CallError> {
    match work.await {
        Ok(()) => Ok(Released::Begun),
        Err(CallError::Gone) => Ok(Released::Already),
        Err(other) => Err(other),
    }
}

impl Claims {
    /// Asks bootd for the box, unless the answer can only come after something else of this plan is applied.
    async fn plan_box(&self, plan: &mut Plan, config: &Claim, found: &mut Diagnostics) {
        let whole = [
            config.name.is_unknown(),
            config.server_class_id.is_unknown(),
            config.server_id.is_unknown(),
        ];
        let rest = Value::Object(plan.config_object().clone());
        if whole.contains(&true) || !rest.is_wholly_known() {
            return;
        }
        let memory = &self.0.memory;
        if let Field::Known(server) = &config.server_id
            && memory.is_server_pending(server)
        {
            return api::remember_claim(memory, server, config);
        }
        let class = config.server_class_id.known();
        let pending = class.map_or(ClassPlan::Settled, |c| memory.class_plan(c));
        let client = match self.0.client() {
            Ok(client) => client,
            Err(why) => return found.push(why),
        };
        if let (Some(class), ClassPlan::Pending) = (class, pending) {
            return found.push(diag::box_known_later(
                &what(config),
                class,
                client.endpoint(),
            ));
        }
        match api::plan_claim(&client, &what(config), config).await {
            Ok((Some(picked), remarks)) => {
                found.extend(remarks);
                api::remember_claim(memory, &picked.server_id, config);
                let (before, after) = picked.free;
                if before > 0 && after == 0 {
                    let what = what(config);
                    found.push(diag::pool_low(&what, before, after, client.endpoint()));
                }
                set(plan, config, picked);
            }
            Ok((None, remarks)) => match class {
                // The boxes that will fit may be the new ones.
                Some(class) if pending == ClassPlan::Growing => {
                    found.push(diag::box_known_later(
                        &what(config),
                        class,
                        client.endpoint(),
                    ));
                }
                _ => shortage(found, remarks, config, &client),
            },
            Err(e) => found.push(diag::call(&what(config), &e)),
        }
    }
}

fn shortage(
    found: &mut Diagnostics,
    remarks: Vec<tfplugin::Diagnostic>,
    config: &Claim,
    client: &Client,
) {
    let before = found.has_errors();
    found.extend(remarks);
    if !before && !found.has_errors() {
        found.push(diag::no_box(&what(config), client.endpoint()));
    }
}

fn set(plan: &mut Plan, config: &Claim, picked: Picked) {
    if config.server_id.is_null() {
        plan.set(Claim::server_id, picked.server_id);
    }
    plan.set(Claim::hardware, Value::from(picked.hardware));
    plan.set(Claim::location, Value::from(picked.location));
    plan.set(Claim::fit, Value::from(picked.fit));
}

/// What is not known yet comes from the answer.
fn fill(claim: &mut Claim, taken: Claim) {
    fn open<T>(field: &mut Field<T>, value: Field<T>) {
        if field.is_unknown() || field.is_null() {
            *field = value;
        }
    }
    open(&mut claim.server_id, taken.server_id);
    open(&mut claim.generation, taken.generation);
    open(&mut claim.hardware, taken.hardware);
    open(&mut claim.location, taken.location);
    open(&mut claim.fit, taken.fit);
}

fn what(claim: &Claim) -> String {
    format!("claim {}", claim.name.known().map_or("", String::as_str))
}
