//! The two declarations of a provider's code: [`model!`](crate::model!) for structs of attributes, [`choices!`](crate::choices!) for words.
//! What they expand to is ordinary code over [`crate::model`].

/// Declares a struct of attributes.
///
/// Documentation comments become the attributes' descriptions. Each field gives its type and how it may be set:
/// `required()`, `optional()`, `computed()` or `optional_computed()` (`block()` for a nested block), and any of
/// [`Attribute`](crate::Attribute)'s modifiers.
/// The struct's fields are [`Field`](crate::Field)s of those types; `Struct::field` is the attribute's [`Name`](crate::Name).
/// A field whose name is a Rust keyword is written `r#match`. `Debug` prints every value: keep models with secrets out of logs.
///
/// ```
/// use tfplugin::{Field, Object, model};
///
/// model! {
///     /// A disk.
///     pub struct Disk {
///         /// Serial number.
///         pub serial: String = required(),
///         /// Erase it first.
///         pub erase: bool = optional().default(false),
///     }
/// }
///
/// let disk = Object::new().with(Disk::serial, "S1").model::<Disk>();
/// assert_eq!(disk.serial, Field::from("S1"));
/// assert!(disk.erase.is_null());
/// ```
#[macro_export]
macro_rules! model {
    ($(#[doc = $doc:expr])* $vis:vis struct $model:ident {
        $($(#[doc = $fdoc:expr])* $fvis:vis $field:ident : $ty:ty = $spec:expr),* $(,)?
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        $vis struct $model {
            $($(#[doc = $fdoc])* $fvis $field: $crate::Field<$ty>,)*
        }

        #[allow(non_upper_case_globals, dead_code, reason = "a name per attribute, under the attribute's own name")]
        impl $model {
            $($(#[doc = $fdoc])* $fvis const $field: $crate::Name<$ty> = $crate::Name::new(stringify!($field));)*
        }

        impl $crate::Model for $model {
            fn attributes() -> ::std::vec::Vec<$crate::schema::Attribute> {
                #[allow(unused_imports, reason = "the vocabulary of the declarations")]
                use $crate::schema::{block, computed, optional, optional_computed, required};
                ::std::vec![$($crate::schema::Attribute::of(
                    Self::$field,
                    concat!($($fdoc, "\n",)* ""),
                    $spec,
                )),*]
            }

            fn from_object(object: &$crate::Object) -> Self {
                Self { $($field: object.at(Self::$field),)* }
            }

            fn into_object(self) -> $crate::Object {
                let mut object = $crate::Object::new();
                $(object.put(Self::$field, self.$field);)*
                object
            }
        }

        impl $crate::FieldType for $model {
            fn shape() -> $crate::schema::Shape {
                $crate::schema::Shape::Nested(
                    $crate::schema::Nesting::Single,
                    <Self as $crate::Model>::attributes(),
                )
            }

            fn from_value(value: &$crate::Value) -> ::std::option::Option<Self> {
                value.as_object().map($crate::Object::model)
            }

            fn into_value(self) -> $crate::Value {
                $crate::Value::Object($crate::Model::into_object(self))
            }
        }

        impl ::std::convert::From<$model> for $crate::Object {
            fn from(model: $model) -> Self {
                $crate::Model::into_object(model)
            }
        }
    };
}

/// Declares an enum of words: an attribute type that accepts only them.
///
/// ```
/// tfplugin::choices! {
///     /// What a node does.
///     pub enum Role {
///         /// Runs etcd.
///         ControlPlane = "controlplane",
///         /// Runs workloads.
///         Worker = "worker",
///     }
/// }
///
/// assert_eq!(Role::Worker.as_str(), "worker");
/// assert_eq!("controlplane".parse(), Ok(Role::ControlPlane));
/// ```
#[macro_export]
macro_rules! choices {
    ($(#[doc = $doc:expr])* $vis:vis enum $choice:ident {
        $($(#[doc = $vdoc:expr])* $variant:ident = $word:literal),* $(,)?
    }) => {
        $(#[doc = $doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        $vis enum $choice {
            $($(#[doc = $vdoc])* $variant,)*
        }

        #[allow(dead_code, reason = "not every enum of words is read both ways")]
        impl $choice {
            /// Every word.
            $vis const WORDS: &'static [&'static str] = &[$($word),*];

            /// The word.
            #[must_use]
            $vis fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }
        }

        impl ::std::str::FromStr for $choice {
            type Err = ();

            fn from_str(word: &str) -> ::std::result::Result<Self, ()> {
                $(if word == $word { return Ok(Self::$variant); })*
                Err(())
            }
        }

        impl $crate::FieldType for $choice {
            fn shape() -> $crate::schema::Shape {
                $crate::schema::Shape::Plain($crate::Type::String)
            }

            fn validators() -> ::std::vec::Vec<$crate::schema::Validator> {
                ::std::vec![$crate::schema::validators::one_of(Self::WORDS)]
            }

            fn from_value(value: &$crate::Value) -> ::std::option::Option<Self> {
                value.as_str()?.parse().ok()
            }

            fn into_value(self) -> $crate::Value {
                $crate::Value::from(self.as_str())
            }
        }

        impl ::std::convert::From<$choice> for $crate::Value {
            fn from(choice: $choice) -> Self {
                $crate::FieldType::into_value(choice)
            }
        }
    };
}
