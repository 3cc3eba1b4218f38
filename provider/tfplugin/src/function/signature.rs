//! What a function takes and returns, in one declaration.

use super::{Call, FunctionError};
use crate::model::{FieldType, Name};
use crate::schema::{Validator, contains_dynamic, is_name, joined};
use crate::value::Type;

/// What a parameter takes besides known values. Given by its Rust type: `T`, `Option<T>` or [`Field<T>`](crate::Field).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Takes {
    /// Nothing else: the host refuses null, and what depends on an unknown argument is unknown without a call.
    #[default]
    Known,
    /// Null, too.
    Null,
    /// Null, and values that are unknown until apply, as a whole or in parts.
    Unknown,
}

/// One parameter of a function.
#[derive(Clone, Debug)]
pub struct Parameter {
    name: &'static str,
    ty: Type,
    takes: Takes,
    arity: Arity,
    description: String,
    validators: Vec<Validator>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Arity {
    One,
    /// Every further argument.
    Rest,
}

/// An argument of its own.
#[must_use]
pub fn parameter() -> Parameter {
    Parameter::blank(Arity::One)
}

/// Takes every further argument; the last one declared, a `Vec`.
#[must_use]
pub fn variadic() -> Parameter {
    Parameter::blank(Arity::Rest)
}

impl Parameter {
    /// A parameter of a Rust type, from [`parameter`] or [`variadic`].
    #[must_use]
    pub fn of<T: FieldType>(name: Name<T>, description: &str, spec: Self) -> Self {
        let (ty, takes) = match (spec.arity, T::shape().ty()) {
            (Arity::Rest, Type::List(element)) => (*element, T::elements_take()),
            (_, ty) => (ty, T::takes()),
        };
        let mut spec = Self {
            name: name.name(),
            ty,
            takes,
            ..spec
        };
        spec.validators.splice(0..0, T::validators());
        if spec.description.is_empty() {
            spec.description = joined(description);
        }
        spec
    }

    /// A rule for the value; its failure names the argument. See [`validators`](crate::schema::validators).
    #[must_use]
    pub fn validate(mut self, validator: Validator) -> Self {
        self.validators.push(validator);
        self
    }

    /// Its documentation, Markdown. [`parameters!`](crate::parameters!) takes it from the documentation comment.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Its name; arguments are positional, it only serves people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The type of one argument.
    #[must_use]
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// What it takes besides known values.
    #[must_use]
    pub fn takes(&self) -> Takes {
        self.takes
    }

    /// Does it take every further argument?
    #[must_use]
    pub fn is_variadic(&self) -> bool {
        self.arity == Arity::Rest
    }

    /// The whole documentation: description and rules.
    #[must_use]
    pub fn description(&self) -> String {
        let rules = self.validators.iter().filter_map(Validator::documented);
        let rules = rules.map(|rule| format!("Must be {rule}."));
        let own = Some(self.description.clone()).filter(|d| !d.is_empty());
        own.into_iter().chain(rules).collect::<Vec<_>>().join(" ")
    }

    pub(super) fn validators(&self) -> &[Validator] {
        &self.validators
    }

    fn blank(arity: Arity) -> Self {
        Self {
            name: "",
            ty: Type::Dynamic,
            takes: Takes::Known,
            arity,
            description: String::new(),
            validators: Vec::new(),
        }
    }
}

/// The parameters of a function as a struct. Implemented by [`parameters!`](crate::parameters!).
pub trait Parameters: Sized {
    /// In the order of the arguments.
    fn parameters() -> Vec<Parameter>;

    /// Reads every argument.
    ///
    /// # Errors
    /// An argument that its type cannot hold, by name and place.
    fn from_call(call: &Call) -> Result<Self, FunctionError>;
}

/// Declares the parameters of a function as a struct, in the order of the arguments.
///
/// Documentation comments become the parameters' descriptions. The type says what an argument may be: `T` is set and known, `Option<T>`
/// may be null, [`Field<T>`](crate::Field) also unknown, [`Value`](crate::Value) takes any type. `Struct::field` is the parameter's [`Name`], for errors.
///
/// ```
/// use tfplugin::schema::validators;
/// use tfplugin::{Call, Context, Function, FunctionError, Runtime, Signature, Value, async_trait, parameters};
///
/// parameters! {
///     /// What `join` takes.
///     pub struct Join {
///         /// Between the parts.
///         pub separator: Option<String> = parameter(),
///         /// How often all of it is written.
///         pub times: u8 = parameter().validate(validators::between(1, 9)),
///         /// What is joined.
///         pub parts: Vec<String> = variadic(),
///     }
/// }
///
/// struct JoinParts;
///
/// #[async_trait]
/// impl Function for JoinParts {
///     fn name(&self) -> &'static str { "join" }
///     fn signature(&self) -> Signature { Signature::of::<Join, String>("Joins texts.") }
///     async fn call(&self, _: &Context, call: &Call) -> Result<Value, FunctionError> {
///         let join: Join = call.arguments()?;
///         if let Some(i) = join.parts.iter().position(String::is_empty) {
///             return Err(FunctionError::new("must not be empty").at(Join::parts).element(i));
///         }
///         let once = join.parts.join(join.separator.as_deref().unwrap_or(", "));
///         Ok(once.repeat(join.times.into()).into())
///     }
/// }
/// # struct Demo;
/// # #[async_trait]
/// # impl tfplugin::Provider for Demo {
/// #     fn schema(&self) -> tfplugin::Schema { tfplugin::Schema::new("") }
/// #     fn resources(&self) -> Vec<std::sync::Arc<dyn tfplugin::Resource>> { vec![] }
/// #     fn functions(&self) -> Vec<std::sync::Arc<dyn Function>> { vec![std::sync::Arc::new(JoinParts)] }
/// #     async fn configure(&self, _: &Context, _: &tfplugin::Object, _: &mut tfplugin::Diagnostics) {}
/// # }
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
///
/// let runtime = Runtime::new(Demo);
/// let join = async |arguments: Vec<Value>| runtime.call("join", arguments).await;
/// assert_eq!(join(vec!["-".into(), 2.into(), "a".into(), "b".into()]).await, Ok("a-ba-b".into()));
/// let wrong = join(vec![Value::Null, 1.into(), "a".into(), "".into()]).await.unwrap_err();
/// assert_eq!((wrong.text(), wrong.argument()), ("must not be empty", Some(3)));
/// # });
/// ```
#[macro_export]
macro_rules! parameters {
    ($(#[doc = $doc:expr])* $vis:vis struct $model:ident {
        $($(#[doc = $fdoc:expr])* $fvis:vis $field:ident : $ty:ty = $spec:expr),* $(,)?
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $model {
            $($(#[doc = $fdoc])* $fvis $field: $ty,)*
        }

        #[allow(non_upper_case_globals, dead_code, reason = "a name per parameter, under the parameter's own name")]
        impl $model {
            $($(#[doc = $fdoc])* $fvis const $field: $crate::Name<$ty> = $crate::Name::new(stringify!($field));)*
        }

        impl $crate::function::Parameters for $model {
            fn parameters() -> ::std::vec::Vec<$crate::function::Parameter> {
                #[allow(unused_imports, reason = "the vocabulary of the declarations")]
                use $crate::function::{parameter, variadic};
                ::std::vec![$($crate::function::Parameter::of(
                    Self::$field,
                    concat!($($fdoc, "\n",)* ""),
                    $spec,
                )),*]
            }

            #[allow(unused_variables, reason = "a function may have no parameters")]
            fn from_call(call: &$crate::Call) -> ::std::result::Result<Self, $crate::FunctionError> {
                Ok(Self { $($field: call.argument(Self::$field)?,)* })
            }
        }
    };
}

/// What a function takes and returns, and its documentation.
#[derive(Clone, Debug)]
pub struct Signature {
    parameters: Vec<Parameter>,
    returns: Type,
    summary: String,
    description: String,
    deprecated: Option<String>,
}

impl Signature {
    /// Takes `P`, returns an `R`. The summary is one line.
    #[must_use]
    pub fn of<P: Parameters, R: FieldType>(summary: impl Into<String>) -> Self {
        Self {
            parameters: P::parameters(),
            returns: R::shape().ty(),
            summary: summary.into(),
            description: String::new(),
            deprecated: None,
        }
    }

    /// More than the summary says, Markdown.
    #[must_use]
    pub fn describe(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// Says what to use instead. The host shows a warning.
    #[must_use]
    pub fn deprecated(mut self, instead: impl Into<String>) -> Self {
        self.deprecated = Some(instead.into());
        self
    }

    /// In the order of the arguments; a variadic one is the last.
    #[must_use]
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter that takes the argument at this place.
    #[must_use]
    pub fn parameter_at(&self, argument: usize) -> Option<&Parameter> {
        let last = self.parameters.last().filter(|p| p.is_variadic());
        self.parameters.get(argument).or(last)
    }

    /// The type of the result.
    #[must_use]
    pub fn returns(&self) -> &Type {
        &self.returns
    }

    /// One line.
    #[must_use]
    pub fn summary(&self) -> &str {
        &self.summary
    }

    /// The documentation, Markdown; the summary where there is nothing else.
    #[must_use]
    pub fn description(&self) -> &str {
        if self.description.is_empty() {
            &self.summary
        } else {
            &self.description
        }
    }

    /// What to use instead.
    #[must_use]
    pub fn deprecation(&self) -> Option<&str> {
        self.deprecated.as_deref()
    }

    /// Every mistake in the declaration; a host would refuse the provider as a whole.
    #[must_use]
    pub fn mistakes(&self) -> Vec<String> {
        let mut found = Vec::new();
        for (i, p) in self.parameters.iter().enumerate() {
            let mut say = |wrong: bool, what: &str| {
                if wrong {
                    found.push(format!("`{}`: {what}", p.name));
                }
            };
            let earlier = &self.parameters[..i];
            say(
                !is_name(p.name),
                "a name is made of lower-case letters, digits and underscores",
            );
            say(earlier.iter().any(|e| e.name == p.name), "declared twice");
            say(
                p.is_variadic() && i + 1 < self.parameters.len(),
                "only the last parameter is variadic",
            );
            say(
                contains_dynamic(&p.ty),
                "the host accepts no dynamic type inside a collection",
            );
        }
        if contains_dynamic(&self.returns) {
            found.push(
                "the result: the host accepts no dynamic type inside a collection".to_owned(),
            );
        }
        if self.summary.is_empty() || self.summary.contains('\n') {
            found.push("the summary is one line of text".to_owned());
        }
        found
    }

    /// Too few, or too many.
    pub(super) fn miscounted(&self, arguments: usize) -> Option<FunctionError> {
        let open = self.parameters.last().is_some_and(Parameter::is_variadic);
        let least = self.parameters.len() - usize::from(open);
        let wanted = match (arguments.cmp(&least), open) {
            (std::cmp::Ordering::Less, true) => "at least",
            (std::cmp::Ordering::Less, false) | (std::cmp::Ordering::Greater, false) => "exactly",
            (std::cmp::Ordering::Equal, _) | (std::cmp::Ordering::Greater, true) => return None,
        };
        let plural = if least == 1 { "argument" } else { "arguments" };
        Some(FunctionError::new(format!(
            "it takes {wanted} {least} {plural} and was given {arguments}"
        )))
    }

    /// The place of an argument that an error names.
    pub(super) fn place(&self, error: &FunctionError) -> Option<usize> {
        let at = error.at.as_ref()?;
        let first = self
            .parameters
            .iter()
            .position(|p| p.name == at.parameter)?;
        Some(first + at.element.unwrap_or(0))
    }
}
