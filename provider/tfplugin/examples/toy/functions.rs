//! Functions: every kind of parameter and result, and every way to break a rule.

use std::sync::Arc;
use std::time::Duration;

use tfplugin::schema::{Validator, validators};
use tfplugin::{
    Call, Context, Diagnostic, Field, Function, FunctionError, Number, Object, Plain, Signature,
    Value, async_trait, choices, model, parameters,
};

pub(crate) fn all() -> Vec<Arc<dyn Function>> {
    vec![
        Arc::new(JoinParts),
        Arc::new(DescribeAny),
        Arc::new(WrapAny),
        Arc::new(Grow),
        Arc::new(Break),
        Arc::new(Version),
    ]
}

parameters! {
    struct Join {
        /// Between the parts; a comma where it is null.
        separator: Option<String> = parameter(),
        /// What is joined.
        parts: Vec<String> = variadic().validate(validators::each(validators::slug(12))),
    }
}

/// Optional and variadic parameters, errors that name one of many arguments.
struct JoinParts;

#[async_trait]
impl Function for JoinParts {
    fn name(&self) -> &'static str {
        "join"
    }

    fn signature(&self) -> Signature {
        Signature::of::<Join, String>("Joins words.")
            .describe("Joins words.\n\nOf `no` words nothing is made.")
    }

    async fn call(&self, _: &Context, call: &Call) -> Result<Value, FunctionError> {
        let Join { separator, parts } = call.arguments()?;
        if let Some(i) = parts.iter().position(|p| p == "forbidden") {
            return Err(FunctionError::new("this word is forbidden.")
                .at(Join::parts)
                .element(i));
        }
        Ok(parts.join(separator.as_deref().unwrap_or(",")).into())
    }
}

parameters! {
    struct Describe {
        /// Anything at all.
        value: Field<Value> = parameter(),
    }
}

/// A parameter that takes null and unknown.
struct DescribeAny;

#[async_trait]
impl Function for DescribeAny {
    fn name(&self) -> &'static str {
        "describe"
    }

    fn signature(&self) -> Signature {
        Signature::of::<Describe, String>("Says what a value is.")
    }

    async fn call(&self, _: &Context, call: &Call) -> Result<Value, FunctionError> {
        let Describe { value } = call.arguments()?;
        Ok(match value {
            Field::Null => "null".into(),
            Field::Unknown => "unknown".into(),
            Field::Known(Value::Dynamic(inner)) => inner.0.to_json().to_string().into(),
            Field::Known(_) => "known".into(),
        })
    }
}

parameters! {
    struct Wrap {
        /// What is wrapped.
        value: Value = parameter(),
    }
}

/// A dynamic parameter and a dynamic result.
struct WrapAny;

#[async_trait]
impl Function for WrapAny {
    fn name(&self) -> &'static str {
        "wrap"
    }

    fn signature(&self) -> Signature {
        Signature::of::<Wrap, Value>("Wraps a value.")
    }

    async fn call(&self, _: &Context, call: &Call) -> Result<Value, FunctionError> {
        let Wrap { value } = call.arguments()?;
        let twice = Value::List(vec![value.clone(), value]);
        Ok(Object::new()
            .with("twice", twice)
            .with("note", Value::Null)
            .into())
    }
}

model! {
    /// An area.
    struct Area {
        /// Its width.
        width: Number = required(),
        /// Its height.
        height: u16 = required(),
    }
}

parameters! {
    struct GrowBy {
        /// What grows.
        area: Plain<Area> = parameter(),
        /// How much wider it gets.
        by: u8 = parameter().validate(validators::between(1, 9)).validate(no_seven()),
    }
}

/// A mistake in a place that nothing guards.
fn no_seven() -> Validator {
    Validator::new("any number but seven", |v| {
        assert_ne!(v, &Value::from(7), "the toy breaks at seven");
        Ok(())
    })
}

/// Objects in and out, validators.
struct Grow;

#[async_trait]
impl Function for Grow {
    fn name(&self) -> &'static str {
        "grow"
    }

    fn signature(&self) -> Signature {
        Signature::of::<GrowBy, Area>("Grows an area.").deprecated("Use arithmetic.")
    }

    async fn call(&self, _: &Context, call: &Call) -> Result<Value, FunctionError> {
        let GrowBy { area, by } = call.arguments()?;
        let (Field::Known(width), Field::Known(_)) = (&area.0.width, &area.0.height) else {
            return Err(
                FunctionError::new("it needs a width and a height that is a whole number")
                    .at(GrowBy::area),
            );
        };
        let wider = width
            .to_i64()
            .and_then(|w| w.checked_add(by.into()))
            .ok_or_else(|| FunctionError::new("too wide").at(GrowBy::area))?;
        let grown = Area {
            width: Number::from(wider).into(),
            ..area.0
        };
        Ok(Object::from(grown).into())
    }
}

choices! {
    /// What goes wrong.
    enum How {
        /// It panics.
        Panic = "panic",
        /// The result has another type.
        Lie = "lie",
        /// The result is unknown.
        Unknown = "unknown",
        /// It takes a minute, and watches for the end.
        Slow = "slow",
        /// It takes a minute and watches nothing.
        Deaf = "deaf",
        /// It fails with a whole diagnostic.
        Fail = "fail",
    }
}

parameters! {
    struct BreakHow {
        /// What goes wrong.
        how: How = parameter(),
    }
}

/// Breaks a rule on purpose.
struct Break;

#[async_trait]
impl Function for Break {
    fn name(&self) -> &'static str {
        "break"
    }

    fn signature(&self) -> Signature {
        Signature::of::<BreakHow, String>("Breaks a rule.")
    }

    async fn call(&self, cx: &Context, call: &Call) -> Result<Value, FunctionError> {
        let BreakHow { how } = call.arguments()?;
        let minute = Duration::from_secs(60);
        match how {
            How::Panic => panic!("the toy was told to panic"),
            How::Lie => Ok(7.into()),
            How::Unknown => Ok(Value::Unknown),
            How::Slow => {
                tracing::info!("slow call begun");
                cx.run(tokio::time::sleep(minute)).await?;
                Ok("slow".into())
            }
            How::Deaf => {
                tracing::info!("deaf call begun");
                tokio::time::sleep(minute).await;
                Ok("deaf".into())
            }
            How::Fail => Err(Diagnostic::error("Toy refuses")
                .detail("It was told to.")
                .hint("tell it something else")
                .into()),
        }
    }
}

parameters! {
    struct Nothing {}
}

/// No parameters.
struct Version;

#[async_trait]
impl Function for Version {
    fn name(&self) -> &'static str {
        "version"
    }

    fn signature(&self) -> Signature {
        Signature::of::<Nothing, u64>("The toy's version.")
    }

    async fn call(&self, _: &Context, call: &Call) -> Result<Value, FunctionError> {
        let Nothing {} = call.arguments()?;
        Ok(1.into())
    }
}
