//! A host that talks to one provider: it sends what Terraform sends, and refuses what Terraform refuses.

use std::sync::Arc;

use metal_proto::tfplugin6 as pb;
use pb::provider_server::Provider as Protocol;
use tonic::{Request, Response, Status};

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

/// What the provider answered: over gRPC, everything but values and messages is a mistake.
fn answered<T>(answer: Result<Response<T>, Status>) -> T {
    answer.unwrap().into_inner()
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
        let schemas = answered(
            service
                .get_provider_schema(Request::new(pb::get_provider_schema::Request {}))
                .await,
        );
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

    fn message(&self, value: &Val) -> Option<pb::DynamicValue> {
        host::message(value, &self.ty)
    }

    fn value(&self, message: Option<&pb::DynamicValue>) -> Result<Val, String> {
        host::value(message, &self.ty)
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
            config: self.message(config),
            client_capabilities: Self::capabilities(),
        };
        let said = answered(
            self.service
                .validate_resource_config(Request::new(request))
                .await,
        );
        let (refused, others): (Vec<_>, Vec<_>) = errors(&said.diagnostics)
            .into_iter()
            .partition(|s| s.starts_with("Elements "));
        none("validate", others, &[("config", config)])?;
        Ok(refused.is_empty())
    }

    async fn plan_change(
        &self,
        [prior, proposed, config]: [&Val; 3],
    ) -> pb::plan_resource_change::Response {
        let request = pb::plan_resource_change::Request {
            type_name: NAME.into(),
            prior_state: self.message(prior),
            proposed_new_state: self.message(proposed),
            config: self.message(config),
            client_capabilities: Self::capabilities(),
            ..Default::default()
        };
        let call = self.service.plan_resource_change(Request::new(request));
        answered(call.await)
    }

    async fn apply_change(
        &self,
        [prior, planned, config]: [&Val; 3],
        private: Vec<u8>,
    ) -> Result<(Val, Vec<String>), String> {
        let request = pb::apply_resource_change::Request {
            type_name: NAME.into(),
            prior_state: self.message(prior),
            planned_state: self.message(planned),
            config: self.message(config),
            planned_private: private,
            ..Default::default()
        };
        let call = self.service.apply_resource_change(Request::new(request));
        let done = answered(call.await);
        let state = self.value(done.new_state.as_ref())?;
        Ok((state, errors(&done.diagnostics)))
    }

    async fn ask(&self, prior: &Val, config: &Val) -> Result<Answer, String> {
        let proposed = rules::proposal(&self.attrs, prior, config);
        let plan = self.plan_change([prior, &proposed, config]).await;
        let about = [("prior", prior), ("config", config)];
        none("plan", errors(&plan.diagnostics), &about)?;
        let value = self.value(plan.planned_state.as_ref())?;
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
        let values = [prior, &plan.value, config];
        let (state, said) = self.apply_change(values, plan.private.clone()).await?;
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
        let upgraded = answered(
            self.service
                .upgrade_resource_state(Request::new(request))
                .await,
        );
        none(
            "upgrade",
            errors(&upgraded.diagnostics),
            &[("state", state)],
        )?;
        let same = self.value(upgraded.upgraded_state.as_ref())?;
        let request = pb::read_resource::Request {
            type_name: NAME.into(),
            current_state: self.message(state),
            ..Default::default()
        };
        let seen = answered(self.service.read_resource(Request::new(request)).await);
        none("read", errors(&seen.diagnostics), &[("state", state)])?;
        let refreshed = self.value(seen.new_state.as_ref())?;
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
        let done = answered(
            self.service
                .import_resource_state(Request::new(request))
                .await,
        );
        none("import", errors(&done.diagnostics), &[])?;
        for one in &done.imported_resources {
            let state = self.value(one.state.as_ref())?;
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
        let values = [prior, &Val::Null, &Val::Null];
        let plan = self.plan_change(values).await;
        none("plan of a deletion", errors(&plan.diagnostics), &[])?;
        if !self.value(plan.planned_state.as_ref())?.is_null() {
            return Err("a deletion was planned as something".into());
        }
        let (left, said) = self.apply_change(values, Vec::new()).await?;
        none("deletion", said, &[])?;
        if left.is_null() {
            return Ok(());
        }
        Err(format!("a deletion left {left:?}"))
    }
}
