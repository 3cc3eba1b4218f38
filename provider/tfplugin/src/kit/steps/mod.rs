//! Step tests: configurations in a row, and what each must plan, make, or be refused for.
//!
//! The same steps run twice. [`Steps::run_in_process`] needs no Terraform: a small host reads the HCL and drives the provider over gRPC, and
//! upholds a host's rules (plans agree with configurations, results with plans). [`Steps::run_on`] lets a real engine do it.
//! The host in process knows resources, data sources, import, ephemeral resources, actions that resources trigger, `count`, `for_each`,
//! outputs, and the provider's functions. Its HCL is literals, nested values, templates, references and calls of these functions. What else
//! a configuration needs (operators, the engine's functions, `dynamic`, modules, `lifecycle` beyond `action_trigger`) is for an engine, and
//! a step in process says so.

mod convert;
mod hcl;
mod host;
mod lifecycle;
mod order;
mod real;
mod rules;
mod schema;
mod scope;

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use futures::FutureExt as _;
use serde_json::Value as Json;

use super::{Plugin, Workspace, flat};
use crate::resource::Provider;
use host::InProcess;
use real::Real;

/// What a plan does with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It stays as it is.
    Nothing,
    /// It is made.
    Create,
    /// It is changed in place.
    Update,
    /// It is deleted and made again.
    Replace,
    /// It is deleted.
    Delete,
}

/// Which work a step does.
#[derive(Clone, Debug)]
enum Work {
    Apply,
    Plan,
    Import { address: String, id: String },
    Destroy,
}

/// What must be seen.
#[derive(Clone, Debug)]
enum Expectation {
    Effect(String, Effect),
    Unknown(String, String),
    Planned(String, String, Json),
    State(String, String, Json),
    Absent(String),
    Output(String, Json),
    Invokes(String, String),
    Said(String),
}

type Outside = Box<dyn Fn() + Send + Sync>;

/// One configuration and what must come of it.
pub struct Step {
    work: Work,
    config: Option<String>,
    expectations: Vec<Expectation>,
    refused: Vec<String>,
    outside: Option<Outside>,
}

impl Step {
    /// Plans and applies; the plan after it must be empty.
    #[must_use]
    pub fn apply(hcl: impl Into<String>) -> Self {
        Self::new(Work::Apply, Some(hcl.into()))
    }

    /// Plans, and applies nothing.
    #[must_use]
    pub fn plan(hcl: impl Into<String>) -> Self {
        Self::new(Work::Plan, Some(hcl.into()))
    }

    /// Imports by id into the configuration of the step before; the plan after it must be empty.
    #[must_use]
    pub fn import(address: impl Into<String>, id: impl Into<String>) -> Self {
        let (address, id) = (address.into(), id.into());
        Self::new(Work::Import { address, id }, None)
    }

    /// Destroys everything.
    #[must_use]
    pub fn destroy() -> Self {
        Self::new(Work::Destroy, None)
    }

    /// Something happens outside before this step: drift, a deleted object.
    #[must_use]
    pub fn after(mut self, outside: impl Fn() + Send + Sync + 'static) -> Self {
        self.outside = Some(Box::new(outside));
        self
    }

    /// What the plan does with the resource at an address such as `toy_thing.a`.
    #[must_use]
    pub fn effect(self, address: &str, effect: Effect) -> Self {
        self.expect(Expectation::Effect(address.to_owned(), effect))
    }

    /// The plan says "known after apply" at a path such as `parts[0].color` or `labels["rack"]`.
    #[must_use]
    pub fn unknown(self, address: &str, path: &str) -> Self {
        self.expect(Expectation::Unknown(address.to_owned(), path.to_owned()))
    }

    /// The plan has this value at a path.
    #[must_use]
    pub fn planned(self, address: &str, path: &str, value: impl Into<Json>) -> Self {
        let (address, path) = (address.to_owned(), path.to_owned());
        self.expect(Expectation::Planned(address, path, value.into()))
    }

    /// The state has this value at a path afterwards, also where the step is refused half-way.
    #[must_use]
    pub fn state(self, address: &str, path: &str, value: impl Into<Json>) -> Self {
        let (address, path) = (address.to_owned(), path.to_owned());
        self.expect(Expectation::State(address, path, value.into()))
    }

    /// The state has no such resource afterwards.
    #[must_use]
    pub fn absent(self, address: &str) -> Self {
        self.expect(Expectation::Absent(address.to_owned()))
    }

    /// The output has this value: in the plan of [`Step::plan`], elsewhere afterwards.
    #[must_use]
    pub fn output(self, name: &str, value: impl Into<Json>) -> Self {
        self.expect(Expectation::Output(output(name), value.into()))
    }

    /// The plan invokes an action such as `action.toy_stamp.s`, triggered by the resource at an address.
    #[must_use]
    pub fn invokes(self, action: &str, trigger: &str) -> Self {
        self.expect(Expectation::Invokes(action.to_owned(), trigger.to_owned()))
    }

    /// The apply says these words: the progress of an action, for example.
    #[must_use]
    pub fn said(self, words: &str) -> Self {
        self.expect(Expectation::Said(words.to_owned()))
    }

    /// The step fails, and the messages have these words; line breaks do not count.
    #[must_use]
    pub fn refused(mut self, words: &[&str]) -> Self {
        self.refused.extend(words.iter().map(|w| (*w).to_owned()));
        self
    }

    fn new(work: Work, config: Option<String>) -> Self {
        Self {
            work,
            config,
            expectations: Vec::new(),
            refused: Vec::new(),
            outside: None,
        }
    }

    fn expect(mut self, expectation: Expectation) -> Self {
        self.expectations.push(expectation);
        self
    }
}

/// A step that went otherwise than it said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepFailure {
    /// Which step, counted from one.
    pub step: usize,
    /// What was seen and what was expected.
    pub why: String,
}

impl fmt::Display for StepFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "step {}: {}", self.step, self.why)
    }
}

impl std::error::Error for StepFailure {}

/// What a plan would do, by address.
#[derive(Debug, Default)]
struct Planned {
    effects: BTreeMap<String, Effect>,
    values: BTreeMap<String, Json>,
    /// `true` in place of everything that is not known.
    unknown: BTreeMap<String, Json>,
    /// Actions, each with the resource that triggers it.
    invocations: Vec<(String, String)>,
}

/// The name of an output among addresses.
fn output(name: &str) -> String {
    format!("output.{name}")
}

/// Whom the steps drive. An error is the text of the messages.
trait Runner {
    async fn plan(&mut self, config: &str, goal: Goal) -> Result<Planned, String>;
    /// What was said meanwhile.
    async fn apply(&mut self) -> Result<String, String>;
    async fn import(&mut self, config: &str, address: &str, id: &str) -> Result<(), String>;
    /// The attributes of every resource in the state, and the outputs, by address.
    async fn state(&mut self) -> Result<BTreeMap<String, Json>, String>;
}

/// What a plan is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Goal {
    Configuration,
    Nothing,
}

/// Steps in a row, against one provider.
pub struct Steps {
    source: String,
    steps: Vec<Step>,
}

impl Steps {
    /// No steps yet, for the provider of this address: `NAMESPACE/NAME`, or `HOST/NAMESPACE/NAME`.
    #[must_use]
    pub fn new(source: impl Into<String>) -> Self {
        Self {
            source: source.into(),
            steps: Vec::new(),
        }
    }

    /// Adds a step.
    #[must_use]
    pub fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    /// Runs the steps without any engine. Every command gets a provider of its own, as every command of an engine starts a process.
    ///
    /// # Errors
    /// The first step that went otherwise than it said.
    pub async fn run_in_process<P: Provider>(
        &self,
        provider: impl Fn() -> P,
    ) -> Result<(), StepFailure> {
        self.run(InProcess::new(provider, self.name())).await
    }

    /// Runs the steps on a real engine, in a workspace of their own.
    ///
    /// # Errors
    /// The first step that went otherwise than it said. Step 0 is the `init`.
    pub fn run_on(&self, workspace: &Workspace) -> Result<(), StepFailure> {
        let runner =
            Real::new(workspace, &self.source).map_err(|why| StepFailure { step: 0, why })?;
        let run = self.run(runner).now_or_never();
        run.expect("commands run to their end: nothing in it waits")
    }

    /// Runs the steps on every engine, each in a directory of its own below `dir`.
    ///
    /// # Errors
    /// The first failure, with the engine's name.
    pub fn run_on_all(
        &self,
        engines: &[super::Engine],
        binary: &Path,
        dir: &Path,
    ) -> Result<(), String> {
        for engine in engines {
            let plugin = Plugin::new(self.source.clone(), binary);
            Workspace::new(engine.clone(), &plugin, dir.join(engine.id()))
                .map_err(|e| e.to_string())
                .and_then(|space| self.run_on(&space).map_err(|e| e.to_string()))
                .map_err(|why| format!("{engine}: {why}"))?;
        }
        Ok(())
    }

    /// The provider's local name.
    fn name(&self) -> &str {
        self.source.rsplit('/').next().unwrap_or_default()
    }

    async fn run(&self, mut runner: impl Runner) -> Result<(), StepFailure> {
        let mut config = String::new();
        for (i, step) in self.steps.iter().enumerate() {
            if let Some(outside) = &step.outside {
                outside();
            }
            if let Some(new) = &step.config {
                config.clone_from(new);
            }
            let done = one(&mut runner, step, &config).await;
            done.map_err(|why| StepFailure { step: i + 1, why })?;
        }
        Ok(())
    }
}

async fn one(runner: &mut impl Runner, step: &Step, config: &str) -> Result<(), String> {
    let done = work(runner, step, config).await;
    let state = runner.state().await?;
    match done {
        Ok(()) if step.refused.is_empty() => {
            in_state(step, &state)?;
            match step.work {
                Work::Plan | Work::Destroy => Ok(()),
                Work::Apply | Work::Import { .. } => nothing_to_do(runner, config).await,
            }
        }
        Ok(()) => Err(format!(
            "it should have been refused with {:?}",
            step.refused
        )),
        Err(Stop::Wrong(why)) => Err(why),
        Err(Stop::Said(said)) => {
            let said = flat(&said);
            if step.refused.is_empty() {
                return Err(said);
            }
            match step.refused.iter().find(|w| !said.contains(&flat(w))) {
                Some(missing) => Err(format!("`{missing}` is not in: {said}")),
                None => in_state(step, &state),
            }
        }
    }
}

/// Why a step's work ended early.
enum Stop {
    /// The provider or the engine refused, in these words.
    Said(String),
    /// The plan is not the expected one.
    Wrong(String),
}

async fn work(runner: &mut impl Runner, step: &Step, config: &str) -> Result<(), Stop> {
    let goal = match &step.work {
        Work::Import { address, id } => {
            return runner.import(config, address, id).await.map_err(Stop::Said);
        }
        Work::Destroy => Goal::Nothing,
        Work::Apply | Work::Plan => Goal::Configuration,
    };
    let plan = runner.plan(config, goal).await.map_err(Stop::Said)?;
    in_plan(step, &plan).map_err(Stop::Wrong)?;
    if matches!(step.work, Work::Plan) {
        return Ok(());
    }
    let said = flat(&runner.apply().await.map_err(Stop::Said)?);
    for expectation in &step.expectations {
        if let Expectation::Said(words) = expectation
            && !said.contains(&flat(words))
        {
            return Err(Stop::Wrong(format!("`{words}` was not said: {said}")));
        }
    }
    Ok(())
}

async fn nothing_to_do(runner: &mut impl Runner, config: &str) -> Result<(), String> {
    let again = runner.plan(config, Goal::Configuration).await?;
    let changes: Vec<_> = again
        .effects
        .iter()
        .filter(|(_, effect)| **effect != Effect::Nothing)
        .map(|(address, effect)| format!("{address}: {effect:?}, {}", again.values[address]))
        .collect();
    if changes.is_empty() {
        Ok(())
    } else {
        Err(format!(
            "the next plan is not empty: {}",
            changes.join("; ")
        ))
    }
}

fn in_plan(step: &Step, plan: &Planned) -> Result<(), String> {
    for expectation in &step.expectations {
        match expectation {
            Expectation::Effect(address, effect) => {
                let seen = plan.effects.get(address).copied();
                if seen != Some(*effect) {
                    return Err(format!("{address}: planned {seen:?}, expected {effect:?}"));
                }
            }
            Expectation::Unknown(address, path) => {
                let unknown = plan
                    .unknown
                    .get(address)
                    .is_some_and(|u| is_unknown(u, path));
                if !unknown {
                    let known = plan.values.get(address).and_then(|v| at(v, path));
                    return Err(format!("{address}: `{path}` is known at plan: {known:?}"));
                }
            }
            Expectation::Planned(address, path, value) => {
                equal(plan.values.get(address), address, path, value)?;
            }
            Expectation::Output(name, value) if matches!(step.work, Work::Plan) => {
                equal(plan.values.get(name), name, "", value)?;
            }
            Expectation::Invokes(action, trigger) => {
                let mut all = plan.invocations.iter();
                if !all.any(|(a, t)| (a, t) == (action, trigger)) {
                    return Err(format!(
                        "{trigger} does not trigger {action}: {:?}",
                        plan.invocations
                    ));
                }
            }
            Expectation::State(..)
            | Expectation::Absent(_)
            | Expectation::Output(..)
            | Expectation::Said(_) => {}
        }
    }
    Ok(())
}

fn in_state(step: &Step, state: &BTreeMap<String, Json>) -> Result<(), String> {
    for expectation in &step.expectations {
        match expectation {
            Expectation::State(address, path, value) => {
                equal(state.get(address), address, path, value)?;
            }
            Expectation::Absent(address) if state.contains_key(address) => {
                return Err(format!("{address} is in the state"));
            }
            Expectation::Output(name, value) if !matches!(step.work, Work::Plan) => {
                equal(state.get(name), name, "", value)?;
            }
            Expectation::Absent(_)
            | Expectation::Effect(..)
            | Expectation::Unknown(..)
            | Expectation::Planned(..)
            | Expectation::Output(..)
            | Expectation::Invokes(..)
            | Expectation::Said(_) => {}
        }
    }
    Ok(())
}

fn equal(seen: Option<&Json>, address: &str, path: &str, expected: &Json) -> Result<(), String> {
    let Some(seen) = seen else {
        return Err(format!("there is no {address}"));
    };
    let seen = at(seen, path).unwrap_or(&Json::Null);
    if seen == expected || numbers_are_equal(seen, expected) {
        return Ok(());
    }
    Err(format!(
        "{address}: `{path}` is {seen}, expected {expected}"
    ))
}

/// `1` and `1.0` are one number for engines.
fn numbers_are_equal(left: &Json, right: &Json) -> bool {
    matches!((left.as_f64(), right.as_f64()), (Some(l), Some(r)) if l == r)
}

/// The steps of a path as messages write it: `parts[0].color`, `labels["rack"]`.
fn steps_of(path: &str) -> impl Iterator<Item = &str> {
    path.split(['.', '[', ']'])
        .filter(|s| !s.is_empty())
        .map(|s| s.trim_matches('"'))
}

/// The value at a path.
fn at<'a>(json: &'a Json, path: &str) -> Option<&'a Json> {
    steps_of(path).try_fold(json, |here, step| match here {
        Json::Array(elements) => elements.get(step.parse::<usize>().ok()?),
        Json::Object(fields) => fields.get(step),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => None,
    })
}

/// Is the value at a path, or what it is part of, not known?
fn is_unknown(unknown: &Json, path: &str) -> bool {
    let mut here = unknown;
    for step in steps_of(path) {
        let next = match here {
            Json::Array(elements) => step.parse::<usize>().ok().and_then(|i| elements.get(i)),
            Json::Object(fields) => fields.get(step),
            Json::Bool(_) => break,
            Json::Null | Json::Number(_) | Json::String(_) => None,
        };
        let Some(next) = next else { return false };
        here = next;
    }
    *here == Json::Bool(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_into_values() {
        let value = json!({"parts": [{"color": "red"}], "labels": {"a-b": 1}});
        assert_eq!(at(&value, "parts[0].color"), Some(&json!("red")));
        assert_eq!(at(&value, "labels[\"a-b\"]"), Some(&json!(1)));
        assert_eq!(at(&value, "parts[1].color"), None);
        let unknown = json!({"parts": [{"color": true}], "place": true});
        assert!(is_unknown(&unknown, "parts[0].color") && is_unknown(&unknown, "place.row"));
        assert!(!is_unknown(&unknown, "parts[0]") && !is_unknown(&unknown, "labels"));
    }
}
