//! Schemas as a host has them: read from the protocol's messages, not from the declarations.

use std::collections::{BTreeMap, HashMap};

use hcl_edit::structure::Body;
use metal_proto::tfplugin6 as pb;

use super::convert::conform;
use super::hcl::contents;
use super::scope::Scope;
use crate::path::Path;
use crate::schema::Nesting;
use crate::value::{Object, Type, Value};

/// An attribute or a nested block.
#[derive(Clone, Debug)]
pub(super) struct Attr {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) required: bool,
    pub(super) computed: bool,
    pub(super) write_only: bool,
    pub(super) nested: Option<(Nesting, Vec<Attr>)>,
    is_block: bool,
}

/// The block of a provider, a resource or a data source.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockSchema {
    pub(super) version: i64,
    pub(super) attributes: Vec<Attr>,
}

impl BlockSchema {
    pub(super) fn read(schema: &pb::Schema) -> Result<Self, String> {
        let block = schema.block.clone().unwrap_or_default();
        Ok(Self {
            version: schema.version,
            attributes: attributes(&block)?,
        })
    }

    /// The type of the whole block.
    pub(super) fn ty(&self) -> Type {
        object_type(&self.attributes)
    }

    /// The configuration that a body says, with everything that is wrong with it.
    pub(super) fn configuration(&self, body: &Body, scope: &Scope) -> Result<Object, Vec<String>> {
        block(&self.attributes, body, scope, &Path::root())
    }

    /// Where a configuration holds more than its `public` part outside of write-only attributes: what would be stored and must not.
    pub(super) fn leaks(&self, config: &Object, public: &Object) -> Vec<String> {
        let mut found = Vec::new();
        leaks(
            &self.attributes,
            [config, public],
            &Path::root(),
            &mut found,
        );
        found
    }
}

fn object_type(attributes: &[Attr]) -> Type {
    let all = attributes.iter().map(|a| (a.name.clone(), a.ty.clone()));
    Type::Object(all.collect())
}

fn attributes(block: &pb::schema::Block) -> Result<Vec<Attr>, String> {
    let plain = block.attributes.iter().map(attribute);
    let blocks = block.block_types.iter().map(nested_block);
    plain.chain(blocks).collect()
}

fn attribute(a: &pb::schema::Attribute) -> Result<Attr, String> {
    let wrong = |why: String| format!("the schema of `{}` cannot be read: {why}", a.name);
    let (ty, nested) = match &a.nested_type {
        None => {
            let json = serde_json::from_slice(&a.r#type).map_err(|e| wrong(e.to_string()))?;
            let ty = Type::from_json(&json).map_err(|e| wrong(e.to_string()))?;
            (ty, None)
        }
        Some(object) => {
            use pb::schema::object::NestingMode;
            let nesting = match object.nesting() {
                NestingMode::Single => Nesting::Single,
                NestingMode::List => Nesting::List,
                NestingMode::Set => Nesting::Set,
                NestingMode::Map => Nesting::Map,
                NestingMode::Invalid => return Err(wrong("it has no nesting".to_owned())),
            };
            let inner = object.attributes.iter().map(attribute);
            many(nesting, inner.collect::<Result<Vec<_>, _>>()?)
        }
    };
    Ok(Attr {
        name: a.name.clone(),
        ty,
        required: a.required,
        computed: a.computed,
        write_only: a.write_only,
        nested,
        is_block: false,
    })
}

fn nested_block(b: &pb::schema::NestedBlock) -> Result<Attr, String> {
    use pb::schema::nested_block::NestingMode;
    let nesting = match b.nesting() {
        NestingMode::Single | NestingMode::Group => Nesting::Single,
        NestingMode::List => Nesting::List,
        NestingMode::Set => Nesting::Set,
        NestingMode::Map => Nesting::Map,
        NestingMode::Invalid => return Err(format!("block `{}` has no nesting", b.type_name)),
    };
    let inner = attributes(&b.block.clone().unwrap_or_default())?;
    let (ty, nested) = many(nesting, inner);
    Ok(Attr {
        name: b.type_name.clone(),
        ty,
        required: b.min_items > 0,
        computed: false,
        write_only: false,
        nested,
        is_block: true,
    })
}

fn many(nesting: Nesting, inner: Vec<Attr>) -> (Type, Option<(Nesting, Vec<Attr>)>) {
    let object = object_type(&inner);
    let ty = match nesting {
        Nesting::Single => object,
        Nesting::List => Type::list(object),
        Nesting::Set => Type::set(object),
        Nesting::Map => Type::map(object),
    };
    (ty, Some((nesting, inner)))
}

fn block(
    attributes: &[Attr],
    body: &Body,
    scope: &Scope,
    at: &Path,
) -> Result<Object, Vec<String>> {
    let (mut said, mut blocks) = contents(body, scope).map_err(|why| vec![why])?;
    let (mut object, mut wrong) = (Object::new(), Vec::new());
    for a in attributes {
        let here = at.clone().attr(&a.name);
        let value = if a.is_block {
            let bodies = blocks.remove(&a.name).unwrap_or_default();
            nested(a, bodies, scope, &here)
        } else {
            conform(said.take(&a.name), &a.ty, &here).map_err(|why| vec![why])
        };
        match value {
            Ok(value) => {
                required(a, &value, &here, &mut wrong);
                object.put(&a.name, value);
            }
            Err(why) => wrong.extend(why),
        }
    }
    let unknown = said.iter().map(|(name, _)| name).chain(blocks.keys());
    wrong.extend(unknown.map(|name| {
        format!("Unsupported argument: an argument named \"{name}\" is not expected here.")
    }));
    if wrong.is_empty() {
        Ok(object)
    } else {
        Err(wrong)
    }
}

fn leaks(attributes: &[Attr], both: [&Object; 2], at: &Path, found: &mut Vec<String>) {
    for a in attributes.iter().filter(|a| !a.write_only) {
        let [config, public] = both.map(|o| o.get(&a.name));
        let at = at.clone().attr(&a.name);
        if config == public {
            continue;
        }
        let (own, others) = (objects(config, &at), objects(public, &at));
        match &a.nested {
            Some((nesting, inner))
                if *nesting != Nesting::Set && !own.is_empty() && own.len() == others.len() =>
            {
                for ((at, config), (_, public)) in own.into_iter().zip(others) {
                    leaks(inner, [config, public], &at, found);
                }
            }
            _ => found.push(format!(
                "Invalid use of ephemeral value: ephemeral values are not valid for \"{at}\", because it is not a write-only attribute \
                 and must be persisted to state."
            )),
        }
    }
}

/// The objects of nested blocks; none is an empty collection, but no single one is null.
fn nested(a: &Attr, bodies: Vec<Body>, scope: &Scope, at: &Path) -> Result<Value, Vec<String>> {
    let Some((nesting, inner)) = &a.nested else {
        return Ok(Value::Null);
    };
    let objects = bodies
        .iter()
        .map(|body| block(inner, body, scope, at).map(Value::Object))
        .collect::<Result<Vec<_>, _>>()?;
    match nesting {
        Nesting::Single => Ok(objects.into_iter().next().unwrap_or_default()),
        Nesting::List => Ok(Value::List(objects)),
        Nesting::Set => Ok(Value::set(objects)),
        Nesting::Map => Err(vec![format!("blocks `{at}` with keys are not read here")]),
    }
}

fn required(a: &Attr, value: &Value, at: &Path, wrong: &mut Vec<String>) {
    if a.is_block && a.required && (value.is_null() || *value == Value::List(vec![])) {
        wrong.push(format!(
            "Insufficient {at} blocks: at least one is required."
        ));
    } else if !a.is_block && a.required && value.is_null() {
        wrong.push(format!(
            "Missing required argument: the argument \"{at}\" is required, but no definition was found."
        ));
    }
    if let (Some((_, inner)), false) = (&a.nested, a.is_block) {
        for (at, object) in objects(value, at) {
            for a in inner {
                required(a, object.get(&a.name), &at.clone().attr(&a.name), wrong);
            }
        }
    }
}

/// The objects in a nested attribute, with their paths.
pub(super) fn objects<'a>(value: &'a Value, at: &Path) -> Vec<(Path, &'a Object)> {
    match value {
        Value::Object(object) => vec![(at.clone(), object)],
        Value::List(_) | Value::Set(_) | Value::Map(_) => value
            .elements_at(at)
            .into_iter()
            .filter_map(|(path, element)| Some((path, element.as_object()?)))
            .collect(),
        Value::Null
        | Value::Unknown
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Dynamic(_) => Vec::new(),
    }
}

/// A provider's function.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    parameters: Vec<Parameter>,
    variadic: Option<Parameter>,
    pub(super) result: Type,
}

/// A parameter of a function.
#[derive(Clone, Debug)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) ty: Type,
    pub(super) takes_null: bool,
    pub(super) takes_unknown: bool,
}

impl Signature {
    fn read(function: &pb::Function) -> Result<Self, String> {
        let ty = |json: &[u8]| {
            let json = serde_json::from_slice(json).map_err(|e| e.to_string())?;
            Type::from_json(&json).map_err(|e| e.to_string())
        };
        let parameter = |p: &pb::function::Parameter| {
            Ok(Parameter {
                name: p.name.clone(),
                ty: ty(&p.r#type)?,
                takes_null: p.allow_null_value,
                takes_unknown: p.allow_unknown_values,
            })
        };
        let result = function.r#return.as_ref().ok_or("it has no result")?;
        Ok(Self {
            parameters: function
                .parameters
                .iter()
                .map(parameter)
                .collect::<Result<_, String>>()?,
            variadic: function
                .variadic_parameter
                .as_ref()
                .map(parameter)
                .transpose()?,
            result: ty(&result.r#type)?,
        })
    }

    /// The parameter of each of so many arguments.
    pub(super) fn parameters_of(&self, arguments: usize) -> Result<Vec<&Parameter>, String> {
        let named = self.parameters.len();
        if arguments < named {
            return Err(format!(
                "Not enough function arguments: there are {arguments} of {named}."
            ));
        }
        match &self.variadic {
            None if arguments > named => Err(format!(
                "Too many function arguments: there are {arguments} of {named}."
            )),
            variadic => {
                let more = variadic.iter().cycle().take(arguments - named);
                Ok(self.parameters.iter().chain(more).collect())
            }
        }
    }
}

/// Every schema of a provider.
#[derive(Clone, Debug, Default)]
pub(super) struct Schemas {
    pub(super) provider: BlockSchema,
    pub(super) resources: BTreeMap<String, BlockSchema>,
    pub(super) data_sources: BTreeMap<String, BlockSchema>,
    pub(super) ephemerals: BTreeMap<String, BlockSchema>,
    pub(super) actions: BTreeMap<String, BlockSchema>,
    pub(super) functions: BTreeMap<String, Signature>,
}

impl Schemas {
    pub(super) fn read(all: &pb::get_provider_schema::Response) -> Result<Self, String> {
        let one =
            |(name, schema): (&String, &pb::Schema)| Ok((name.clone(), BlockSchema::read(schema)?));
        let family = |schemas: &HashMap<String, pb::Schema>| {
            schemas
                .iter()
                .map(one)
                .collect::<Result<BTreeMap<_, _>, String>>()
        };
        let action = |(name, action): (&String, &pb::ActionSchema)| {
            one((name, &action.schema.clone().unwrap_or_default()))
        };
        let function = |(name, function): (&String, &pb::Function)| {
            let read = Signature::read(function);
            let read =
                read.map_err(|why| format!("the signature of `{name}` cannot be read: {why}"));
            Ok((name.clone(), read?))
        };
        Ok(Self {
            provider: BlockSchema::read(&all.provider.clone().unwrap_or_default())?,
            resources: family(&all.resource_schemas)?,
            data_sources: family(&all.data_source_schemas)?,
            ephemerals: family(&all.ephemeral_resource_schemas)?,
            actions: all
                .action_schemas
                .iter()
                .map(action)
                .collect::<Result<_, String>>()?,
            functions: all
                .functions
                .iter()
                .map(function)
                .collect::<Result<_, String>>()?,
        })
    }
}
