//! Steps on a real engine: the commands of a user, and what their JSON says.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value as Json;

use super::{Effect, Goal, Planned, Runner, output};
use crate::kit::{Outcome, Workspace};

const PLAN: &str = "step.plan";

/// A workspace in which `init` has run.
pub(super) struct Real<'a> {
    workspace: &'a Workspace,
}

impl<'a> Real<'a> {
    pub(super) fn new(workspace: &'a Workspace, source: &str) -> Result<Self, String> {
        let name = source.rsplit('/').next().unwrap_or_default();
        let text = format!(
            "terraform {{\n  required_providers {{\n    {name} = {{ source = {source:?} }}\n  }}\n}}\n"
        );
        fs::write(workspace.module().join("required.tf"), text).map_err(|e| e.to_string())?;
        let this = Self { workspace };
        this.write("")?;
        this.done(&["init", "-input=false", "-no-color"])?;
        Ok(this)
    }

    fn write(&self, config: &str) -> Result<(), String> {
        self.workspace.write(config).map_err(|e| e.to_string())
    }

    /// What a command printed, or, where it failed, what it said.
    fn done(&self, args: &[&str]) -> Result<String, String> {
        let Outcome {
            code,
            stdout,
            stderr,
        } = self.workspace.run(args).map_err(|e| e.to_string())?;
        match code {
            Some(0) => Ok(stdout),
            _ => Err(stdout + &stderr),
        }
    }

    fn json(&self, args: &[&str]) -> Result<Json, String> {
        serde_json::from_str(&self.done(args)?).map_err(|e| format!("{args:?}: {e}"))
    }
}

impl Runner for Real<'_> {
    async fn plan(&mut self, config: &str, goal: Goal) -> Result<Planned, String> {
        self.write(config)?;
        let out = format!("-out={PLAN}");
        let mut args = vec!["plan", "-input=false", "-no-color", &out];
        if goal == Goal::Nothing {
            args.push("-destroy");
        }
        self.done(&args)?;
        let shown = self.json(&["show", "-json", "-no-color", PLAN])?;
        let mut planned = Planned::default();
        for change in shown["resource_changes"].as_array().into_iter().flatten() {
            if change["mode"] == "data" {
                continue;
            }
            let address = change["address"].as_str().unwrap_or_default().to_owned();
            let change = &change["change"];
            let effect = effect(&change["actions"])?;
            planned.effects.insert(address.clone(), effect);
            planned
                .unknown
                .insert(address.clone(), change["after_unknown"].clone());
            planned.values.insert(address, change["after"].clone());
        }
        for one in shown["action_invocations"].as_array().into_iter().flatten() {
            let text = |json: &Json| json.as_str().unwrap_or_default().to_owned();
            let trigger = &one["lifecycle_action_trigger"]["triggering_resource_address"];
            planned
                .invocations
                .push((text(&one["address"]), text(trigger)));
        }
        planned.values.extend(outputs(&shown["planned_values"]));
        Ok(planned)
    }

    async fn apply(&mut self) -> Result<String, String> {
        self.done(&["apply", "-input=false", "-no-color", PLAN])
    }

    async fn import(&mut self, config: &str, address: &str, id: &str) -> Result<(), String> {
        self.write(config)?;
        self.done(&["import", "-input=false", "-no-color", address, id])
            .map(drop)
    }

    async fn state(&mut self) -> Result<BTreeMap<String, Json>, String> {
        let shown = self.json(&["show", "-json", "-no-color"])?;
        let resources = shown["values"]["root_module"]["resources"].as_array();
        let one = |r: &Json| {
            let address = r["address"].as_str().unwrap_or_default().to_owned();
            (address, r["values"].clone())
        };
        let resources = resources.into_iter().flatten().map(one);
        Ok(resources.chain(outputs(&shown["values"])).collect())
    }
}

/// Outputs that are known.
fn outputs(values: &Json) -> impl Iterator<Item = (String, Json)> {
    let all = values["outputs"].as_object().into_iter().flatten();
    all.map(|(name, told)| (output(name), told["value"].clone()))
}

fn effect(actions: &Json) -> Result<Effect, String> {
    let names: Vec<_> = actions
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Json::as_str)
        .collect();
    match names.as_slice() {
        ["no-op"] => Ok(Effect::Nothing),
        ["create"] => Ok(Effect::Create),
        ["update"] => Ok(Effect::Update),
        ["delete"] => Ok(Effect::Delete),
        ["delete", "create"] | ["create", "delete"] => Ok(Effect::Replace),
        other => Err(format!("a plan with the actions {other:?}")),
    }
}
