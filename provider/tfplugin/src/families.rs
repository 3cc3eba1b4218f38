//! The families of things that a provider has besides resources and data sources, by name, and the mistakes in their declarations.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::action::Action;
use crate::ephemeral::EphemeralResource;
use crate::function::Declared;
use crate::leases::Leases;
use crate::resource::Provider;
use crate::runtime::Kind;
use crate::schema::{Attribute, RESERVED_NAME, Schema, SchemaMistake, is_name};

/// Functions, ephemeral resources and actions.
pub(crate) struct Families {
    pub(crate) functions: BTreeMap<&'static str, Declared>,
    pub(crate) ephemerals: BTreeMap<&'static str, Kind<dyn EphemeralResource>>,
    pub(crate) actions: BTreeMap<&'static str, Kind<dyn Action>>,
    pub(crate) leases: Leases,
}

impl Families {
    /// Asks the provider for them.
    pub(crate) fn of(provider: &impl Provider, mistakes: &mut Vec<String>) -> Self {
        let mut all = Self {
            functions: BTreeMap::new(),
            ephemerals: BTreeMap::new(),
            actions: BTreeMap::new(),
            leases: Leases::default(),
        };
        for code in provider.functions() {
            let (name, signature) = (code.name(), code.signature());
            let say = |what: String| format!("function {name}: {what}");
            mistakes.extend(signature.mistakes().into_iter().map(say));
            if !is_name(name) {
                mistakes.push(say(
                    "a name is made of lower-case letters, digits and underscores".into(),
                ));
            }
            let declared = Declared { code, signature };
            if all.functions.insert(name, declared).is_some() {
                mistakes.push(say("declared twice".into()));
            }
        }
        for code in provider.ephemerals() {
            let (name, schema) = (code.type_name(), Arc::new(code.schema()));
            mistakes.extend(found(
                "ephemeral resource",
                name,
                &schema,
                Family::Ephemeral,
            ));
            if all.ephemerals.insert(name, Kind { code, schema }).is_some() {
                mistakes.push(format!("ephemeral resource {name}: declared twice"));
            }
        }
        for code in provider.actions() {
            let (name, schema) = (code.type_name(), Arc::new(code.schema()));
            mistakes.extend(found("action", name, &schema, Family::Action));
            if all.actions.insert(name, Kind { code, schema }).is_some() {
                mistakes.push(format!("action {name}: declared twice"));
            }
        }
        all
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    Ephemeral,
    Action,
}

fn found(what: &str, name: &str, schema: &Schema, family: Family) -> Vec<String> {
    // An action's configuration is a block of its own, in which HCL keeps no names.
    let free = |m: &&SchemaMistake| family == Family::Action && m.mistake == RESERVED_NAME;
    let all = schema.mistakes();
    let mut found: Vec<_> = all
        .iter()
        .filter(|m| !free(m))
        .map(ToString::to_string)
        .collect();
    for a in schema.attributes() {
        attribute(a, family, &mut found);
    }
    found
        .into_iter()
        .map(|m| format!("{what} {name}: {m}"))
        .collect()
}

/// What hosts have no place for in these blocks: there is no state, so nothing in it can be left out or replaced.
fn attribute(a: &Attribute, family: Family, found: &mut Vec<String>) {
    let mut say = |wrong: bool, what: &str| {
        if wrong {
            found.push(format!("`{}`: {what}", a.name()));
        }
    };
    say(a.replaces(), "there is nothing to replace");
    match family {
        Family::Ephemeral => say(
            a.write_only,
            "nothing of an ephemeral resource is stored; it need not be write-only",
        ),
        Family::Action => {
            say(
                a.nested().iter().any(|inner| inner.write_only),
                "only an attribute of the block itself is write-only in an action",
            );
            say(
                a.is_computed() && a.default.is_none(),
                "an action has no result to compute",
            );
            say(
                a.sensitive,
                "hosts know no sensitive attributes in actions; the configuration's value may be sensitive",
            );
        }
    }
    for inner in a.nested() {
        attribute(inner, family, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::function::{Call, Function, FunctionError, Signature};
    use crate::{
        Context, Diagnostics, Object, Opened, Progress, Resource, Runtime, Value, async_trait,
        model, parameters,
    };
    use std::time::SystemTime;

    parameters! {
        struct Wrong {
            größe: String = parameter(),
            rest: Vec<String> = variadic(),
            more: Vec<Value> = parameter(),
        }
    }

    model! {
        struct Block {
            id: String = computed(),
            name: String = required().requires_replace(),
            key: String = optional().write_only().sensitive(),
            count: i64 = optional(),
        }
    }

    struct Bad;

    #[async_trait]
    impl Function for Bad {
        fn name(&self) -> &'static str {
            "bad-name"
        }

        fn signature(&self) -> Signature {
            Signature::of::<Wrong, Vec<Value>>("")
        }

        async fn call(&self, _: &Context, _: &Call) -> Result<Value, FunctionError> {
            Ok(Value::Null)
        }
    }

    #[async_trait]
    impl EphemeralResource for Bad {
        fn type_name(&self) -> &'static str {
            "x_lease"
        }

        fn schema(&self) -> Schema {
            Schema::of::<Block>("")
        }

        async fn open(
            &self,
            _: &Context,
            _: &Object,
            _: SystemTime,
        ) -> Result<Opened, Diagnostics> {
            Ok(Opened::default())
        }
    }

    #[async_trait]
    impl Action for Bad {
        fn type_name(&self) -> &'static str {
            "x_act"
        }

        fn schema(&self) -> Schema {
            Schema::of::<Block>("")
        }

        async fn invoke(
            &self,
            _: &Context,
            _: &Object,
            _: &Progress,
        ) -> Result<Diagnostics, Diagnostics> {
            Ok(Diagnostics::new())
        }
    }

    #[async_trait]
    impl Provider for Bad {
        fn schema(&self) -> Schema {
            Schema::new("")
        }

        fn resources(&self) -> Vec<Arc<dyn Resource>> {
            Vec::new()
        }

        fn functions(&self) -> Vec<Arc<dyn Function>> {
            vec![Arc::new(Bad), Arc::new(Bad)]
        }

        fn ephemerals(&self) -> Vec<Arc<dyn EphemeralResource>> {
            vec![Arc::new(Bad)]
        }

        fn actions(&self) -> Vec<Arc<dyn Action>> {
            vec![Arc::new(Bad), Arc::new(Bad)]
        }

        async fn configure(&self, _: &Context, _: &Object, _: &mut Diagnostics) {}
    }

    #[test]
    fn mistakes_are_found() {
        let mut found = Runtime::new(Bad).mistakes().to_vec();
        found.dedup();
        insta::assert_snapshot!(found.join("\n"));
    }
}
