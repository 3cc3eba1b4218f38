//! The host in process: reads configurations, plans in order, applies, keeps a state. It talks to the provider over gRPC only.
//!
//! Simpler than an engine: one thing after the other, and an apply ends at the first failure. Ephemeral resources are opened and closed
//! with the plan and with the apply; renewing takes longer than a step.

mod configured;
mod families;
mod link;
mod resources;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::convert::{json, unknowns};
use super::hcl::{Declared, Kind, Module, Repeat};
use super::lifecycle::Moment;
use super::order::order;
use super::scope::Scope;
use super::{Effect, Goal, Planned, Runner, output};
use crate::resource::Provider;
use crate::value::{Object, Value};
use configured::{collected, configured, instances, public_value, with_calls};
use link::{Change, Link};

/// A state and a way to start providers.
pub(super) struct InProcess<F> {
    make: F,
    /// The provider's local name.
    name: String,
    state: BTreeMap<String, Stored>,
    data: BTreeMap<String, Json>,
    outputs: BTreeMap<String, Json>,
    pending: Option<Pending>,
    made: u64,
}

/// A resource in the state, as a state file has it.
#[derive(Clone, Debug)]
struct Stored {
    type_name: String,
    version: i64,
    json: String,
    private: Vec<u8>,
    tainted: bool,
    /// Later ones are deleted first.
    made: u64,
}

/// What is planned so far.
#[derive(Default)]
struct Plans {
    scope: Scope,
    changes: BTreeMap<String, (Effect, Change)>,
    /// Actions, each with the resource that triggers it.
    invocations: Vec<(String, String)>,
    wrong: Vec<String>,
}

/// A plan that waits for its apply.
struct Pending {
    module: Module,
    order: Vec<String>,
    changes: BTreeMap<String, (Effect, Change)>,
    deletions: Vec<String>,
}

impl<P: Provider, F: Fn() -> P> InProcess<F> {
    pub(super) fn new(make: F, name: &str) -> Self {
        Self {
            make,
            name: name.to_owned(),
            state: BTreeMap::new(),
            data: BTreeMap::new(),
            outputs: BTreeMap::new(),
            pending: None,
            made: 0,
        }
    }

    /// A provider of its own, configured.
    async fn start(&self, module: &Module) -> Result<Link, String> {
        let mut link = Link::open((self.make)(), &self.name).await?;
        let (schema, scope) = (link.schemas.provider.clone(), module.scope());
        let config = with_calls(&mut link, &scope, || {
            schema.configuration(&module.provider, &scope)
        });
        let config = config
            .await
            .map_err(|why| format!("provider: {}", why.join("\n")))?;
        link.configure(&config).await?;
        Ok(link)
    }

    /// What is in the state and not wanted any more, the newest first.
    fn unwanted(&self, wanted: &BTreeMap<String, (Effect, Change)>) -> Vec<String> {
        let mut all: Vec<_> = self
            .state
            .iter()
            .filter(|(address, _)| !wanted.contains_key(*address))
            .map(|(address, stored)| (stored.made, address.clone()))
            .collect();
        all.sort_by(|a, b| b.cmp(a));
        all.into_iter().map(|(_, address)| address).collect()
    }

    /// A resource that got a `count`, or lost it, is its first instance, as engines have it.
    fn follow_counts(&mut self, module: &Module) {
        let resources = module.blocks.iter();
        for (address, declared) in resources.filter(|(_, d)| d.kind == Kind::Resource) {
            let first = format!("{address}[0]");
            let (old, new) = match declared.repeat {
                Repeat::Count(_) => (address.clone(), first),
                Repeat::Once => (first, address.clone()),
                Repeat::ForEach(_) => continue,
            };
            if !self.state.contains_key(&new)
                && let Some(stored) = self.state.remove(&old)
            {
                self.state.insert(new, stored);
            }
        }
    }

    /// Plans what the configuration declares, in order.
    async fn plan_all(
        &mut self,
        link: &mut Link,
        module: &Module,
        order: &[String],
        prior: &BTreeMap<String, Object>,
    ) -> Result<Plans, String> {
        let mut plans = Plans {
            scope: module.scope(),
            ..Plans::default()
        };
        for address in order {
            let declared = &module.blocks[address];
            self.plan_block(link, address, declared, prior, &mut plans)
                .await;
        }
        for (address, action) in &module.actions {
            let config = action_config(link, action, &plans.scope).await;
            let planned = match config {
                Ok(config) => plan_action(link, address, action, &config, &plans).await,
                Err(why) => Err(why),
            };
            plans
                .wrong
                .extend(planned.err().map(|why| format!("{address}: {why}")));
        }
        if plans.wrong.is_empty() {
            Ok(plans)
        } else {
            Err(plans.wrong.join("\n"))
        }
    }

    /// Plans every instance of a block. All that is wrong is told at once: what depends on it sees it as not known.
    async fn plan_block(
        &mut self,
        link: &mut Link,
        address: &str,
        declared: &Declared,
        prior: &BTreeMap<String, Object>,
        plans: &mut Plans,
    ) {
        let all = match instances(link, address, declared, &plans.scope).await {
            Ok(all) => all,
            Err(why) => {
                plans.wrong.push(format!("{address}: {why}"));
                plans
                    .scope
                    .values
                    .insert(address.to_owned(), Value::Unknown);
                return;
            }
        };
        let mut values = Vec::new();
        for instance in &all {
            let (address, scope) = (&instance.address, &instance.scope);
            let value = match declared.kind {
                Kind::DataSource => {
                    self.looked_up(link, address, declared, scope, &plans.changes)
                        .await
                }
                Kind::Ephemeral | Kind::Action => opened(link, declared, scope).await,
                Kind::Resource => {
                    let prior = prior.get(address);
                    let planned = self.planned(link, address, declared, prior, scope).await;
                    planned.map(|(effect, change)| {
                        for moment in [Moment::Before, Moment::After] {
                            let actions = declared.triggers.iter();
                            let actions = actions.flat_map(|t| t.invoked(effect, moment));
                            let invoked = actions.map(|a| (a.clone(), address.clone()));
                            plans.invocations.extend(invoked);
                        }
                        let value = change.planned.clone().into();
                        plans.changes.insert(address.clone(), (effect, change));
                        value
                    })
                }
            };
            values.push(value.unwrap_or_else(|why| {
                let why = why.into_iter().map(|w| format!("{address}: {w}"));
                plans.wrong.extend(why);
                Value::Unknown
            }));
        }
        let value = collected(&declared.repeat, &all, values);
        plans.scope.values.insert(address.to_owned(), value);
    }

    /// Does the work of a plan, in order.
    async fn apply_all(&mut self, link: &mut Link, mut pending: Pending) -> Result<(), String> {
        for address in &pending.deletions {
            self.delete(link, address).await?;
        }
        self.data.clear();
        let mut scope = pending.module.scope();
        for address in &pending.order {
            let declared = &pending.module.blocks[address];
            let all = instances(link, address, declared, &scope).await?;
            let mut values = Vec::new();
            for instance in &all {
                let at = |why: String| format!("{}: {why}", instance.address);
                let planned = pending.changes.remove(&instance.address);
                let effect = planned.as_ref().map(|(effect, _)| *effect);
                invoke(
                    link,
                    &pending.module,
                    declared,
                    effect,
                    Moment::Before,
                    &scope,
                )
                .await?;
                let own = (&*instance.address, &instance.scope);
                let value = self.apply_one(link, own, declared, planned).await;
                values.push(value.map_err(at)?);
                let so_far = collected(&declared.repeat, &all, values.clone());
                scope.values.insert(address.clone(), so_far);
                invoke(
                    link,
                    &pending.module,
                    declared,
                    effect,
                    Moment::After,
                    &scope,
                )
                .await?;
            }
            let value = collected(&declared.repeat, &all, values);
            scope.values.insert(address.clone(), value);
        }
        self.outputs = outputs(link, &pending.module, &scope).await?;
        Ok(())
    }

    async fn apply_one(
        &mut self,
        link: &mut Link,
        (address, scope): (&str, &Scope),
        declared: &Declared,
        planned: Option<(Effect, Change)>,
    ) -> Result<Value, String> {
        match (declared.kind, planned) {
            (Kind::Resource, Some(planned)) => {
                let made = self.change(link, address, declared, planned, scope).await;
                made.map(Value::from)
            }
            (Kind::Resource, None) => Err("it was not planned".to_owned()),
            (Kind::DataSource, _) => self
                .looked_up(link, address, declared, scope, &BTreeMap::new())
                .await
                .map_err(|why| why.join("\n")),
            (Kind::Ephemeral | Kind::Action, _) => opened(link, declared, scope)
                .await
                .map_err(|why| why.join("\n")),
        }
    }

    async fn plan_with(
        &mut self,
        link: &mut Link,
        module: Module,
        goal: Goal,
    ) -> Result<Planned, String> {
        if goal == Goal::Configuration {
            self.follow_counts(&module);
        }
        let prior = self.refresh(link).await?;
        let order = match goal {
            Goal::Configuration => order(&module.blocks)?,
            Goal::Nothing => Vec::new(),
        };
        let module = match goal {
            Goal::Configuration => module,
            // What triggers, and what is told, goes with the resources.
            Goal::Nothing => module.provider_only(),
        };
        let plans = self.plan_all(link, &module, &order, &prior).await?;
        let deletions = self.unwanted(&plans.changes);
        let mut seen = Planned {
            invocations: plans.invocations,
            ..Planned::default()
        };
        for address in &deletions {
            let old = &self.state[address];
            let private = old.private.clone();
            link.plan_delete(&old.type_name, &prior[address], private)
                .await
                .map_err(|why| format!("{address}: {why}"))?;
            seen.effects.insert(address.clone(), Effect::Delete);
            seen.values.insert(address.clone(), Json::Null);
        }
        for (address, (effect, change)) in &plans.changes {
            let planned = Value::from(change.planned.clone());
            seen.effects.insert(address.clone(), *effect);
            seen.values.insert(address.clone(), json(&planned));
            seen.unknown.insert(address.clone(), unknowns(&planned));
        }
        seen.values
            .extend(outputs(link, &module, &plans.scope).await?);
        self.pending = Some(Pending {
            module,
            order,
            changes: plans.changes,
            deletions,
        });
        Ok(seen)
    }
}

/// Opens an ephemeral resource, or leaves it to the apply where its configuration is not known.
async fn opened(link: &mut Link, declared: &Declared, scope: &Scope) -> Result<Value, Vec<String>> {
    let one = |why: String| vec![why];
    let name = &declared.type_name;
    let schema = link.ephemeral(name).map_err(one)?.clone();
    let config = with_calls(link, scope, || schema.configuration(&declared.body, scope)).await?;
    if !Value::from(config.clone()).is_wholly_known() {
        link.validate_ephemeral(name, &config).await.map_err(one)?;
        return Ok(Value::Unknown);
    }
    let result = link.open_ephemeral(name, &config).await.map_err(one)?;
    Ok(result.into())
}

async fn action_config(
    link: &mut Link,
    action: &Declared,
    scope: &Scope,
) -> Result<Object, String> {
    let schema = link.action(&action.type_name)?.clone();
    let config = configured(link, &schema, &action.body, scope).await;
    config.map_err(|why| why.join("\n"))
}

/// Checks an action, and plans it where something triggers it.
async fn plan_action(
    link: &mut Link,
    address: &str,
    action: &Declared,
    config: &Object,
    plans: &Plans,
) -> Result<(), String> {
    link.validate_action(&action.type_name, config).await?;
    let triggered = plans.invocations.iter().any(|(a, _)| a == address);
    if triggered {
        link.plan_action(&action.type_name, config).await?;
    }
    Ok(())
}

/// Invokes what a resource triggers at this moment.
async fn invoke(
    link: &mut Link,
    module: &Module,
    declared: &Declared,
    effect: Option<Effect>,
    moment: Moment,
    scope: &Scope,
) -> Result<(), String> {
    let Some(effect) = effect else {
        return Ok(());
    };
    let invoked = declared.triggers.iter();
    for address in invoked.flat_map(|t| t.invoked(effect, moment)) {
        let action = &module.actions[address];
        let at = |why: String| format!("{address}: {why}");
        let config = action_config(link, action, scope).await.map_err(at)?;
        link.invoke(&action.type_name, &config).await.map_err(at)?;
    }
    Ok(())
}

/// The outputs, as the state names them.
async fn outputs(
    link: &mut Link,
    module: &Module,
    scope: &Scope,
) -> Result<BTreeMap<String, Json>, String> {
    let mut all = BTreeMap::new();
    for (name, expression) in &module.outputs {
        let value = public_value(link, scope, expression).await;
        let value = value.map_err(|why| format!("output.{name}: {why}"))?;
        all.insert(output(name), json(&value));
    }
    Ok(all)
}

/// What was done, and the end of everything that was open for it.
async fn ended<T>(link: &mut Link, done: Result<T, String>) -> Result<T, String> {
    match (done, link.close().await) {
        (Ok(done), Ok(())) => Ok(done),
        (Ok(_), Err(why)) | (Err(why), Ok(())) => Err(why),
        (Err(why), Err(closing)) => Err(format!("{why}\n{closing}")),
    }
}

impl<P: Provider, F: Fn() -> P> Runner for InProcess<F> {
    async fn plan(&mut self, config: &str, goal: Goal) -> Result<Planned, String> {
        let module = Module::read(config)?;
        let mut link = self.start(&module).await?;
        let planned = self.plan_with(&mut link, module, goal).await;
        ended(&mut link, planned).await
    }

    async fn apply(&mut self) -> Result<String, String> {
        let Some(pending) = self.pending.take() else {
            return Err("there is no plan to apply".to_owned());
        };
        let mut link = self.start(&pending.module).await?;
        let done = self.apply_all(&mut link, pending).await;
        ended(&mut link, done).await?;
        Ok(link.said.join("\n"))
    }

    async fn import(&mut self, config: &str, address: &str, id: &str) -> Result<(), String> {
        let module = Module::read(config)?;
        let block = address.split('[').next().unwrap_or(address);
        let Some(declared) = module.blocks.get(block) else {
            return Err(format!(
                "resource address \"{address}\" does not exist in the configuration"
            ));
        };
        let mut link = self.start(&module).await?;
        let name = &declared.type_name;
        let (state, private) = link.import(name, id).await?;
        let Some((state, private)) = link.read(name, Some(state), private).await? else {
            return Err(format!(
                "Cannot import non-existent remote object: {address}, {id}"
            ));
        };
        self.keep(&link, address, name, &state, private, false)
    }

    async fn state(&mut self) -> Result<BTreeMap<String, Json>, String> {
        let mut all = self.data.clone();
        all.extend(self.outputs.clone());
        for (address, stored) in &self.state {
            let json = serde_json::from_str(&stored.json).map_err(|e| e.to_string())?;
            all.insert(address.clone(), json);
        }
        Ok(all)
    }
}
