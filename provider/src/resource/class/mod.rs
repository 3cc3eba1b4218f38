//! `metal_server_class`: rules. Remembers in a plan what it chooses from, for the claims that are planned after it.

pub(crate) mod schema;

use std::sync::Arc;

use tfplugin::{
    Change, Context, Diagnostics, Failed, Field, Object, Path, Plan, Resource, Saved, Schema,
    async_trait,
};

use crate::api;
use crate::diag;
use crate::memory::ClassPlan;
use crate::site::{self, Site};
use schema::{Class, Match};

pub(crate) struct Classes(pub(crate) Arc<Site>);

#[async_trait]
impl Resource for Classes {
    fn type_name(&self) -> &'static str {
        "metal_server_class"
    }

    fn schema(&self) -> Schema {
        schema::schema()
    }

    async fn validate(&self, config: &Object, found: &mut Diagnostics) {
        let class: Class = config.model();
        let labels = class
            .r#match
            .known()
            .map(|m| m.labels.clone())
            .unwrap_or_default();
        for (key, rule) in labels.known().into_iter().flatten() {
            let bare = rule.strip_prefix('!').unwrap_or(rule);
            if bare.split('|').any(str::is_empty) {
                found.push(diag::bad_label_rule(
                    Path::from(Class::r#match).attr(Match::labels).key(key),
                    rule,
                ));
            }
        }
    }

    async fn plan(&self, _: &Context, plan: &mut Plan, _: &mut Diagnostics) {
        let config: Class = plan.config();
        let Field::Known(name) = config.name else {
            return;
        };
        if plan.is_create() {
            plan.set(Class::id, name.clone());
        }
        let open = !tfplugin::Value::Object(plan.config_object().clone()).is_wholly_known();
        let state = if open || plan.changes_anything() {
            ClassPlan::Pending
        } else {
            ClassPlan::Settled
        };
        self.0.memory.class(
            &name,
            config.servers.into_known().unwrap_or_default(),
            state,
        );
    }

    async fn create(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn update(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        self.put(cx, change).await
    }

    async fn read(&self, _: &Context, state: &Object) -> Result<Option<Saved>, Failed> {
        let client = self.0.client()?;
        let prior: Class = state.model();
        let id = prior.id.known().cloned().unwrap_or_default();
        site::found(
            &format!("server class {id}"),
            api::read_class(&client, &id, &prior).await,
        )
    }

    async fn delete(&self, cx: &Context, state: &Object) -> Result<(), Failed> {
        let client = self.0.client()?;
        let id = state.at(Class::id).into_known().unwrap_or_default();
        site::call(
            cx,
            &client,
            &format!("server class {id}"),
            api::delete_class(&client, &id),
        )
        .await?;
        Ok(())
    }

    async fn import(&self, _: &Context, id: &str) -> Result<Saved, Failed> {
        Ok(Class {
            id: id.into(),
            name: id.into(),
            ..Class::default()
        }
        .into())
    }
}

impl Classes {
    async fn put(&self, cx: &Context, change: &Change) -> Result<Saved, Failed> {
        let client = self.0.client()?;
        let mut class: Class = change.planned();
        let name = class.name.known().cloned().unwrap_or_default();
        site::call(
            cx,
            &client,
            &format!("server class {name}"),
            api::put_class(&client, &class),
        )
        .await?;
        self.0.memory.class_done(&name);
        class.id = name.into();
        Ok(class.into())
    }
}
