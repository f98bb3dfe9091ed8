//! Writes `types.rs` from the typed structs' own schemas and from `hints.rs`, and checks that it is
//! up to date. `UPDATE_SCHEMA=1 cargo test -p portolan-apiserver schema::generate` rewrites it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Lists;
use super::hints;
use super::roots::ROOTS;
use crate::resource::value::ValueExt;

const PREFIX: &str = "#/components/schemas/";

/// Types that JSON holds as one value, whatever their schema says.
fn leaf(name: &str) -> Option<&'static str> {
    Some(match name.rsplit('.').next()? {
        "IntOrString" => "Type::IntOrString",
        "Quantity" => "Type::Quantity",
        "Time" => "Type::Time",
        "MicroTime" => "Type::MicroTime",
        "FieldsV1" | "RawExtension" => "Type::Any",
        _ => return None,
    })
}

fn constant(name: &str) -> String {
    name.trim_start_matches("io.k8s.")
        .trim_start_matches("api.")
        .trim_start_matches("apimachinery.pkg.apis.")
        .replace(['.', '-'], "_")
        .chars()
        .flat_map(char::to_uppercase)
        .collect()
}

fn type_of(schema: &Value, atomic_map: bool) -> String {
    if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
        let name = reference.trim_start_matches(PREFIX);
        return leaf(name)
            .map_or_else(|| format!("Type::Struct(&{})", constant(name)), str::to_owned);
    }
    match (schema.text("type"), schema.text("format")) {
        ("string", "byte") => "Type::Bytes".to_owned(),
        ("string", "") => "Type::String".to_owned(),
        ("boolean", _) => "Type::Bool".to_owned(),
        ("integer", "int32") => "Type::Int32".to_owned(),
        ("integer", "int64") => "Type::Int64".to_owned(),
        ("array", _) => format!("Type::List(&{})", type_of(&schema["items"], false)),
        ("object", _) if schema.get("additionalProperties").is_some() => {
            let element = type_of(&schema["additionalProperties"], false);
            let name = if atomic_map { "AtomicMap" } else { "Map" };
            format!("Type::{name}(&{element})")
        }
        other => panic!("no type for {other:?} in {schema}"),
    }
}

/// Columns of the generated file: it is a table, read by field rather than by line.
const WIDTH: usize = 150;

/// Joins entries to lines of that width.
fn fill(entries: &[String]) -> String {
    let mut out = String::new();
    let mut line = String::new();
    for entry in entries {
        if !line.is_empty() && line.len() + entry.len() + 5 > WIDTH {
            writeln!(out, "    {line}").unwrap();
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(entry);
    }
    if !line.is_empty() {
        writeln!(out, "    {line}").unwrap();
    }
    out
}

fn field(short: &str, name: &str, schema: &Value) -> String {
    let atomic_map = hints::ATOMIC_MAPS.contains(&(short, name));
    let kind = type_of(schema, atomic_map).replace("Type::", "T::");
    let hint = hints::FIELDS.iter().find(|h| h.0 == short && h.1 == name);
    let Some((_, _, patch, lists)) = hint else { return format!("f({name:?}, {kind}),") };
    let lists = match lists {
        Lists::Map(keys) => format!("Lists::Map(&{keys:?})"),
        other => format!("Lists::{other:?}"),
    };
    format!("Field {{ name: {name:?}, kind: {kind}, patch: Patch::{patch:?}, lists: {lists} }},")
}

fn generated() -> String {
    let settings = SchemaSettings::default().with(|s| {
        s.definitions_path = PREFIX.trim_start_matches('#').trim_end_matches('/').into();
    });
    let mut generator = settings.into_generator();
    let roots: Vec<Value> =
        ROOTS.iter().map(|root| Value::from((root.add)(&mut generator))).collect();
    let definitions: BTreeMap<String, Value> =
        generator.take_definitions(true).into_iter().collect();

    let mut out = String::from(
        "//! What the kinds of this server hold, field by field. Written by `generate.rs`; do not edit.\n\n\
         use super::{Field, Lists, Patch, Struct, Type as T};\n\n\
         const fn f(name: &'static str, kind: T) -> Field {\n    Field::new(name, kind)\n}\n\n",
    );
    for (name, schema) in &definitions {
        if leaf(name).is_some() {
            continue;
        }
        let short = name.rsplit('.').next().unwrap_or_default();
        let atomic = hints::ATOMIC_STRUCTS.contains(&short);
        let fields: Vec<String> = schema["properties"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, schema)| field(short, name, schema))
            .collect();
        writeln!(
            out,
            "static {}: Struct = Struct {{ name: {name:?}, atomic: {atomic}, fields: &[\n{}] }};",
            constant(name),
            fill(&fields)
        )
        .unwrap();
    }
    let kinds: Vec<String> = ROOTS
        .iter()
        .zip(&roots)
        .map(|(root, schema)| {
            let name = schema.text("$ref").trim_start_matches(PREFIX);
            format!("({:?}, {:?}, {:?}, &{}),", root.group, root.version, root.kind, constant(name))
        })
        .collect();
    writeln!(
        out,
        "\n/// `(group, version, kind, struct)` of every kind that can stand in a request's body.\n\
         pub(super) static KINDS: &[(&str, &str, &str, &Struct)] = &[\n{}];",
        fill(&kinds)
    )
    .unwrap();
    out
}

#[test]
fn types_are_up_to_date() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/schema/types.rs");
    let fresh = generated();
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(path, &fresh).unwrap();
    }
    let stored = std::fs::read_to_string(path).unwrap();
    assert!(stored == fresh, "run UPDATE_SCHEMA=1 cargo test schema::generate");
}

#[test]
fn every_hint_names_a_field() {
    let text = generated();
    for (name, field, ..) in hints::FIELDS {
        assert!(text.contains(&format!(".{name}\"")), "{name}");
        assert!(text.contains(&format!("name: {field:?}")), "{name}.{field}");
    }
    for (name, field) in hints::ATOMIC_MAPS {
        assert!(text.contains(&format!("f({field:?}, T::AtomicMap(")), "{name}.{field}");
    }
    for name in hints::ATOMIC_STRUCTS {
        assert!(text.contains(&format!(".{name}\", atomic: true")), "{name}");
    }
}
