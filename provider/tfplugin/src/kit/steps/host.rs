//! The host in process: reads configurations, plans in order, applies, keeps a state. It talks to the provider over gRPC only.
//!
//! Simpler than an engine: one thing after the other, and an apply ends at the first failure.

mod link;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::convert::{json, stored, unknowns};
use super::hcl::{Declared, Kind, Module, Scope};
use super::order::order;
use super::rules::agrees;
use super::schema::BlockSchema;
use super::{Effect, Goal, Planned, Runner};
use crate::path::Path;
use crate::resource::Provider;
use crate::value::{Object, Value};
use link::{Change, Link};

/// A state and a way to start providers.
pub(super) struct InProcess<F> {
    make: F,
    state: BTreeMap<String, Stored>,
    data: BTreeMap<String, Json>,
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

/// A plan that waits for its apply.
struct Pending {
    module: Module,
    order: Vec<String>,
    changes: BTreeMap<String, (Effect, Change)>,
    deletions: Vec<String>,
}

impl<P: Provider, F: Fn() -> P> InProcess<F> {
    pub(super) fn new(make: F) -> Self {
        Self {
            make,
            state: BTreeMap::new(),
            data: BTreeMap::new(),
            pending: None,
            made: 0,
        }
    }

    /// A provider of its own, configured.
    async fn start(&self, module: &Module) -> Result<Link, String> {
        let mut link = Link::open((self.make)()).await?;
        link.configure(&module.provider, &module.scope()).await?;
        Ok(link)
    }

    /// Reads every resource of the state again; what is gone outside leaves it.
    async fn refresh(&mut self, link: &mut Link) -> Result<BTreeMap<String, Object>, String> {
        let mut seen = BTreeMap::new();
        for (address, stored_one) in self.state.clone() {
            let type_name = &stored_one.type_name;
            let old = link
                .upgrade(type_name, stored_one.version, &stored_one.json)
                .await?;
            match link.read(type_name, old, stored_one.private).await? {
                Some((now, private)) => {
                    let tainted = stored_one.tainted;
                    self.keep(link, &address, type_name, &now, private, tainted)?;
                    seen.insert(address, now);
                }
                None => drop(self.state.remove(&address)),
            }
        }
        Ok(seen)
    }

    fn keep(
        &mut self,
        link: &Link,
        address: &str,
        type_name: &str,
        state: &Object,
        private: Vec<u8>,
        tainted: bool,
    ) -> Result<(), String> {
        self.made += 1;
        let made = self.state.get(address).map_or(self.made, |s| s.made);
        let kept = Stored {
            type_name: type_name.to_owned(),
            version: link.resource(type_name)?.version,
            json: stored(&state.clone().into()),
            private,
            tainted,
            made,
        };
        self.state.insert(address.to_owned(), kept);
        Ok(())
    }

    /// Plans one resource.
    async fn planned(
        &self,
        link: &mut Link,
        address: &str,
        declared: &Declared,
        prior: Option<&Object>,
        scope: &Scope,
    ) -> Result<(Effect, Change), Vec<String>> {
        let one = |why: String| vec![why];
        let name = &declared.type_name;
        let schema = link.resource(name).map_err(one)?.clone();
        let config = schema.configuration(&declared.body, scope)?;
        link.validate(name, &config).await.map_err(one)?;
        let stored = self.state.get(address);
        let tainted = stored.is_some_and(|s| s.tainted);
        let old = prior.filter(|_| !tainted);
        let private = stored.filter(|_| old.is_some());
        let private = private.map(|s| s.private.clone()).unwrap_or_default();
        let (change, replaces) = link.plan(name, old, &config, private).await.map_err(one)?;
        let effect = match (prior, tainted || replaces) {
            (None, _) => Effect::Create,
            (Some(_), true) => Effect::Replace,
            (Some(prior), false) if *prior == change.planned => Effect::Nothing,
            (Some(_), false) => Effect::Update,
        };
        if !replaces {
            return Ok((effect, change));
        }
        // What a replacement makes is planned as a creation.
        let (change, _) = link
            .plan(name, None, &config, Vec::new())
            .await
            .map_err(one)?;
        Ok((effect, change))
    }

    /// Reads a data source, or leaves it to the apply where its configuration is not known or what it waits for changes.
    async fn looked_up(
        &mut self,
        link: &mut Link,
        address: &str,
        declared: &Declared,
        scope: &Scope,
        changing: &BTreeMap<String, (Effect, Change)>,
    ) -> Result<Value, Vec<String>> {
        let one = |why: String| vec![why];
        let name = &declared.type_name;
        let schema = link.data_source(name).map_err(one)?.clone();
        let config = schema.configuration(&declared.body, scope)?;
        link.validate_data(name, &config).await.map_err(one)?;
        let waits = declared.body.has_attribute("depends_on")
            && declared.needs.iter().any(|n| {
                changing
                    .get(n)
                    .is_some_and(|(effect, _)| *effect != Effect::Nothing)
            });
        if waits || !Value::from(config.clone()).is_wholly_known() {
            return Ok(computed_later(&schema, config).into());
        }
        let state = link.look_up(name, &config).await.map_err(one)?;
        self.data
            .insert(address.to_owned(), json(&state.clone().into()));
        Ok(state.into())
    }

    /// Applies one resource's plan and keeps what came of it.
    async fn change(
        &mut self,
        link: &mut Link,
        address: &str,
        declared: &Declared,
        planned: (Effect, Change),
        scope: &Scope,
    ) -> Result<Object, String> {
        let (effect, mut change) = planned;
        let name = &declared.type_name;
        if effect == Effect::Nothing {
            return Ok(change.planned);
        }
        if effect == Effect::Replace {
            self.delete(link, address).await?;
        }
        let schema = link.resource(name)?.clone();
        let config = schema
            .configuration(&declared.body, scope)
            .map_err(|why| why.join("\n"))?;
        if config != change.config {
            let before = change.prior.clone();
            let private = change.prior_private.clone();
            let (again, _) = link.plan(name, before.as_ref(), &config, private).await?;
            let (old, new) = (change.planned.into(), again.planned.clone().into());
            agrees(&old, &new, &Path::root())
                .map_err(|why| format!("Provider produced inconsistent final plan: {why}"))?;
            change = again;
        }
        let is_new = change.prior.is_none();
        let (state, private, failed) = link.apply(name, &change).await?;
        match &state {
            Some(state) => {
                let bad = failed.is_some() && is_new;
                self.keep(link, address, name, state, private, bad)?;
            }
            None => drop(self.state.remove(address)),
        }
        match (state, failed) {
            (_, Some(said)) => Err(said),
            (Some(state), None) => Ok(state),
            (None, None) => Err(format!("{address}: the provider returned no state")),
        }
    }

    async fn delete(&mut self, link: &mut Link, address: &str) -> Result<(), String> {
        let Some(old) = self.state.get(address).cloned() else {
            return Ok(());
        };
        let name = &old.type_name;
        let Some(state) = link.upgrade(name, old.version, &old.json).await? else {
            return Ok(());
        };
        let private = link.plan_delete(name, &state, old.private.clone()).await?;
        let (left, private, failed) = link.delete(name, &state, private).await?;
        match left {
            Some(left) => self.keep(link, address, name, &left, private, old.tainted)?,
            None => drop(self.state.remove(address)),
        }
        failed.map_or(Ok(()), Err)
    }

    /// What is in the state and not wanted any more, the newest first.
    fn unwanted(&self, module: &Module, goal: Goal) -> Vec<String> {
        let mut all: Vec<_> = self
            .state
            .iter()
            .filter(|(address, _)| goal == Goal::Nothing || !module.blocks.contains_key(*address))
            .map(|(address, stored)| (stored.made, address.clone()))
            .collect();
        all.sort_by(|a, b| b.cmp(a));
        all.into_iter().map(|(_, address)| address).collect()
    }

    /// Plans what the configuration declares, in order.
    async fn plan_all(
        &mut self,
        link: &mut Link,
        module: &Module,
        order: &[String],
        prior: &BTreeMap<String, Object>,
    ) -> Result<BTreeMap<String, (Effect, Change)>, String> {
        let (mut scope, mut changes) = (module.scope(), BTreeMap::new());
        let mut wrong = Vec::new();
        for address in order {
            let declared = &module.blocks[address];
            let value = match declared.kind {
                Kind::DataSource => {
                    self.looked_up(link, address, declared, &scope, &changes)
                        .await
                }
                Kind::Resource => {
                    let prior = prior.get(address);
                    let planned = self.planned(link, address, declared, prior, &scope).await;
                    planned.map(|(effect, change)| {
                        let value = change.planned.clone().into();
                        changes.insert(address.clone(), (effect, change));
                        value
                    })
                }
            };
            // All that is wrong is told at once: what depends on it sees it as not known.
            let value = value.unwrap_or_else(|why| {
                wrong.extend(why.into_iter().map(|w| format!("{address}: {w}")));
                Value::Unknown
            });
            scope.values.insert(address.clone(), value);
        }
        if wrong.is_empty() {
            Ok(changes)
        } else {
            Err(wrong.join("\n"))
        }
    }
}

impl<P: Provider, F: Fn() -> P> Runner for InProcess<F> {
    async fn plan(&mut self, config: &str, goal: Goal) -> Result<Planned, String> {
        let module = Module::read(config)?;
        let mut link = self.start(&module).await?;
        let prior = self.refresh(&mut link).await?;
        let order = match goal {
            Goal::Configuration => order(&module.blocks)?,
            Goal::Nothing => Vec::new(),
        };
        let changes = self.plan_all(&mut link, &module, &order, &prior).await?;
        let deletions = self.unwanted(&module, goal);
        let mut seen = Planned::default();
        for address in &deletions {
            let old = &self.state[address];
            let private = old.private.clone();
            link.plan_delete(&old.type_name, &prior[address], private)
                .await
                .map_err(|why| format!("{address}: {why}"))?;
            seen.effects.insert(address.clone(), Effect::Delete);
            seen.values.insert(address.clone(), Json::Null);
        }
        for (address, (effect, change)) in &changes {
            let planned = Value::from(change.planned.clone());
            seen.effects.insert(address.clone(), *effect);
            seen.values.insert(address.clone(), json(&planned));
            seen.unknown.insert(address.clone(), unknowns(&planned));
        }
        self.pending = Some(Pending {
            module,
            order,
            changes,
            deletions,
        });
        Ok(seen)
    }

    async fn apply(&mut self) -> Result<(), String> {
        let Some(mut pending) = self.pending.take() else {
            return Err("there is no plan to apply".to_owned());
        };
        let mut link = self.start(&pending.module).await?;
        for address in &pending.deletions {
            self.delete(&mut link, address).await?;
        }
        self.data.clear();
        let mut scope = pending.module.scope();
        for address in &pending.order {
            let declared = &pending.module.blocks[address];
            let value = match pending.changes.remove(address) {
                Some(planned) => self
                    .change(&mut link, address, declared, planned, &scope)
                    .await
                    .map(Value::from),
                None => self
                    .looked_up(&mut link, address, declared, &scope, &BTreeMap::new())
                    .await
                    .map_err(|why| why.join("\n")),
            };
            let value = value.map_err(|why| format!("{address}: {why}"))?;
            scope.values.insert(address.clone(), value);
        }
        Ok(())
    }

    async fn import(&mut self, config: &str, address: &str, id: &str) -> Result<(), String> {
        let module = Module::read(config)?;
        let Some(declared) = module.blocks.get(address) else {
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
        for (address, stored) in &self.state {
            let json = serde_json::from_str(&stored.json).map_err(|e| e.to_string())?;
            all.insert(address.clone(), json);
        }
        Ok(all)
    }
}

/// A data source that is read in the apply: what it computes is not known yet.
fn computed_later(schema: &BlockSchema, mut config: Object) -> Object {
    for a in &schema.attributes {
        if a.computed && config.get(&a.name).is_null() {
            config.put(&a.name, Value::Unknown);
        }
    }
    config
}
