//! What a host does with one resource or data source: refresh, plan, apply, delete.

use std::collections::BTreeMap;

use super::configured::configured;
use super::link::{Change, Link};
use super::{InProcess, Stored};
use crate::kit::steps::Effect;
use crate::kit::steps::convert::{json, stored};
use crate::kit::steps::hcl::Declared;
use crate::kit::steps::rules::agrees;
use crate::kit::steps::schema::BlockSchema;
use crate::kit::steps::scope::Scope;
use crate::path::Path;
use crate::resource::Provider;
use crate::value::{Object, Value};

impl<P: Provider, F: Fn() -> P> InProcess<F> {
    /// Reads every resource of the state again; what is gone outside leaves it.
    pub(super) async fn refresh(
        &mut self,
        link: &mut Link,
    ) -> Result<BTreeMap<String, Object>, String> {
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

    pub(super) fn keep(
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
    pub(super) async fn planned(
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
        let config = configured(link, &schema, &declared.body, scope).await?;
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
    pub(super) async fn looked_up(
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
        let config = configured(link, &schema, &declared.body, scope).await?;
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
    pub(super) async fn change(
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
        let config = configured(link, &schema, &declared.body, scope)
            .await
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

    pub(super) async fn delete(&mut self, link: &mut Link, address: &str) -> Result<(), String> {
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
