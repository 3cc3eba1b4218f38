//! A host that talks to one provider: it sends what Terraform sends, and refuses what Terraform refuses.

use std::sync::Arc;

use metal_proto::tfplugin6 as pb;
use pb::provider_server::Provider as Protocol;
use tonic::Request;

use crate::host::{self, Attr, Step, Ty, Val};
use crate::rules;
use crate::subject::{Any, Habits, Subject};

/// What the host would do with a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Nothing,
    Create,
    Update,
    Replace,
}

/// A plan that the host accepted. A replacement's is that of its creation.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) action: Action,
    pub(crate) value: Val,
    private: Vec<u8>,
}

/// One answer to a plan request.
struct Answer {
    value: Val,
    paths: Vec<Vec<Step>>,
    private: Vec<u8>,
}

pub(crate) struct Session {
    service: Box<dyn Protocol>,
    pub(crate) attrs: Vec<Attr>,
    ty: Ty,
    habits: Habits,
}

const NAME: &str = "any_thing";

/// Errors by what they say; warnings are none.
fn errors(all: &[pb::Diagnostic]) -> Vec<String> {
    let error = |d: &&pb::Diagnostic| d.severity() == pb::diagnostic::Severity::Error;
    all.iter()
        .filter(error)
        .map(|d| format!("{}: {}", d.summary, d.detail))
        .collect()
}

fn none(what: &str, found: Vec<String>, about: &[(&str, &Val)]) -> Result<(), String> {
    if found.is_empty() {
        return Ok(());
    }
    let about: Vec<_> = about
        .iter()
        .map(|(name, v)| format!("{name} {v:?}"))
        .collect();
    Err(format!("{what}: {found:#?}\n{}", about.join("\n")))
}

impl Session {
    pub(crate) async fn new(subject: Arc<Subject>) -> Result<Self, String> {
        let habits = subject.habits.clone();
        let service = tfplugin::in_process::service(Any(subject));
        let schemas = service
            .get_provider_schema(Request::new(pb::get_provider_schema::Request {}))
            .await
            .unwrap()
            .into_inner();
        none("schema", errors(&schemas.diagnostics), &[])?;
        let block = schemas.resource_schemas[NAME].block.as_ref().unwrap();
        let attrs = host::members(block);
        let ty = host::object(&attrs);
        Ok(Self {
            service: Box::new(service),
            attrs,
            ty,
            habits,
        })
    }

    /// Does the resource promise that a second plan is empty?
    pub(crate) fn quiet(&self) -> bool {
        !self.habits.touches && !self.habits.reopens
    }

    fn capabilities() -> Option<pb::ClientCapabilities> {
        Some(pb::ClientCapabilities {
            write_only_attributes_allowed: true,
            ..Default::default()
        })
    }

    /// Is it a configuration? Elements of a set that defaults or words make equal are none, since the host counts them.
    async fn validate(&self, config: &Val) -> Result<bool, String> {
        let request = pb::validate_resource_config::Request {
            type_name: NAME.into(),
            config: host::message(config, &self.ty),
            client_capabilities: Self::capabilities(),
        };
        let said = self
            .service
            .validate_resource_config(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        let (refused, others): (Vec<_>, Vec<_>) = errors(&said.diagnostics)
            .into_iter()
            .partition(|s| s.starts_with("Elements "));
        none("validate", others, &[("config", config)])?;
        Ok(refused.is_empty())
    }

    async fn ask(&self, prior: &Val, config: &Val) -> Result<Answer, String> {
        let proposed = rules::proposal(&self.attrs, prior, config);
        let request = pb::plan_resource_change::Request {
            type_name: NAME.into(),
            prior_state: host::message(prior, &self.ty),
            proposed_new_state: host::message(&proposed, &self.ty),
            config: host::message(config, &self.ty),
            client_capabilities: Self::capabilities(),
            ..Default::default()
        };
        let plan = self
            .service
            .plan_resource_change(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        let about = [("prior", prior), ("config", config)];
        none("plan", errors(&plan.diagnostics), &about)?;
        let value = host::value(plan.planned_state.as_ref(), &self.ty)?;
        let mut found = rules::plan_breaches(&self.attrs, prior, config, &value);
        found.extend(
            self.attrs
                .iter()
                .flat_map(|a| rules::write_only_values(a, &value.attr(&a.name))),
        );
        none(
            "invalid plan",
            found,
            &[about[0], about[1], ("planned", &value)],
        )?;
        let paths = plan.requires_replace.iter().map(host::steps).collect();
        Ok(Answer {
            value,
            paths,
            private: plan.planned_private,
        })
    }

    /// The plan, as Terraform makes it; none where the provider refused the configuration for a good reason.
    pub(crate) async fn plan(&self, prior: &Val, config: &Val) -> Result<Option<Planned>, String> {
        if !self.validate(config).await? {
            return Ok(None);
        }
        let answer = self.ask(prior, config).await?;
        let done = |action, a: Answer| {
            Ok(Some(Planned {
                action,
                value: a.value,
                private: a.private,
            }))
        };
        if prior.is_null() {
            return done(Action::Create, answer);
        }
        let replacing = rules::replacing(&answer.paths, prior, &answer.value).map_err(|why| {
            format!(
                "{why}\nprior {prior:?}\nconfig {config:?}\nplanned {:?}",
                answer.value
            )
        })?;
        if !replacing.is_empty() {
            let answer = self.ask(&Val::Null, config).await?;
            return done(Action::Replace, answer);
        }
        let action = if answer.value == *prior {
            Action::Nothing
        } else {
            Action::Update
        };
        done(action, answer)
    }

    /// Is the plan made at apply one that the first plan promised?
    pub(crate) fn follows(&self, first: &Planned, last: &Planned) -> Result<(), String> {
        let about = [("first", &first.value), ("last", &last.value)];
        let allowed = match first.action {
            Action::Update => matches!(last.action, Action::Update | Action::Nothing),
            Action::Replace => last.action == Action::Create,
            same => last.action == same,
        };
        if !allowed {
            return none(
                "final plan",
                vec![format!("{:?} became {:?}", first.action, last.action)],
                &about,
            );
        }
        none(
            "final plan",
            rules::result_breaches(&first.value, &last.value, &self.ty),
            &about,
        )
    }

    /// The state after apply; none where it failed.
    pub(crate) async fn apply(
        &self,
        prior: &Val,
        plan: &Planned,
        config: &Val,
    ) -> Result<Option<Val>, String> {
        let request = pb::apply_resource_change::Request {
            type_name: NAME.into(),
            prior_state: host::message(prior, &self.ty),
            planned_state: host::message(&plan.value, &self.ty),
            config: host::message(config, &self.ty),
            planned_private: plan.private.clone(),
            ..Default::default()
        };
        let done = self
            .service
            .apply_resource_change(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        let said = errors(&done.diagnostics);
        let state = host::value(done.new_state.as_ref(), &self.ty)?;
        let about = [("planned", &plan.value), ("state", &state)];
        // A change that only the state knows does not reach the resource, and cannot fail.
        if self.habits.fails && !said.is_empty() {
            none(
                "state of a failure",
                rules::state_breaches(&self.attrs, &state),
                &about,
            )?;
            return Ok(None);
        }
        none("apply", said, &about)?;
        let mut found = rules::state_breaches(&self.attrs, &state);
        found.extend(rules::result_breaches(&plan.value, &state, &self.ty));
        none("inconsistent result", found, &about)?;
        Ok(Some(state))
    }

    /// A state that was stored is read back and refreshed as it was.
    pub(crate) async fn stored(&self, state: &Val) -> Result<(), String> {
        let mut json = String::new();
        state.json(&mut json);
        let raw = pb::RawState {
            json: json.into_bytes(),
            ..Default::default()
        };
        let request = pb::upgrade_resource_state::Request {
            type_name: NAME.into(),
            version: 0,
            raw_state: Some(raw),
        };
        let upgraded = self
            .service
            .upgrade_resource_state(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        none(
            "upgrade",
            errors(&upgraded.diagnostics),
            &[("state", state)],
        )?;
        let same = host::value(upgraded.upgraded_state.as_ref(), &self.ty)?;
        let request = pb::read_resource::Request {
            type_name: NAME.into(),
            current_state: host::message(state, &self.ty),
            ..Default::default()
        };
        let seen = self
            .service
            .read_resource(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        none("read", errors(&seen.diagnostics), &[("state", state)])?;
        let refreshed = host::value(seen.new_state.as_ref(), &self.ty)?;
        if same == *state && refreshed == *state {
            return Ok(());
        }
        Err(format!(
            "stored {state:?}\nupgraded {same:?}\nrefreshed {refreshed:?}"
        ))
    }

    /// What an import brings is a state.
    pub(crate) async fn import(&self) -> Result<(), String> {
        let request = pb::import_resource_state::Request {
            type_name: NAME.into(),
            id: "x".into(),
            ..Default::default()
        };
        let done = self
            .service
            .import_resource_state(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        none("import", errors(&done.diagnostics), &[])?;
        for one in &done.imported_resources {
            let state = host::value(one.state.as_ref(), &self.ty)?;
            none(
                "imported",
                rules::state_breaches(&self.attrs, &state),
                &[("state", &state)],
            )?;
        }
        Ok(())
    }

    /// A deletion is planned as nothing and leaves nothing.
    pub(crate) async fn delete(&self, prior: &Val) -> Result<(), String> {
        let request = pb::plan_resource_change::Request {
            type_name: NAME.into(),
            prior_state: host::message(prior, &self.ty),
            proposed_new_state: host::message(&Val::Null, &self.ty),
            config: host::message(&Val::Null, &self.ty),
            ..Default::default()
        };
        let plan = self
            .service
            .plan_resource_change(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        none("plan of a deletion", errors(&plan.diagnostics), &[])?;
        if !host::value(plan.planned_state.as_ref(), &self.ty)?.is_null() {
            return Err("a deletion was planned as something".into());
        }
        let request = pb::apply_resource_change::Request {
            type_name: NAME.into(),
            prior_state: host::message(prior, &self.ty),
            planned_state: host::message(&Val::Null, &self.ty),
            config: host::message(&Val::Null, &self.ty),
            ..Default::default()
        };
        let done = self
            .service
            .apply_resource_change(Request::new(request))
            .await
            .unwrap()
            .into_inner();
        none("deletion", errors(&done.diagnostics), &[])?;
        let left = host::value(done.new_state.as_ref(), &self.ty)?;
        none(
            "deletion",
            if left.is_null() {
                vec![]
            } else {
                vec!["it left something".into()]
            },
            &[("left", &left)],
        )
    }
}
