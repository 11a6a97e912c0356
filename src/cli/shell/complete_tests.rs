use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::{Names, complete};

struct Known {
    tables: Vec<(&'static str, String)>,
    functions: Vec<String>,
}

impl Known {
    fn new() -> Self {
        let schemas = ["main", "lake", "raw", "quarantine"];
        let tables = schemas.iter().flat_map(|schema| ["events", "Web.Hooks-2"].map(|name| (*schema, name.to_owned())));
        let functions = ["count", "coalesce", "json_extract"].map(str::to_owned).to_vec();
        Self { tables: tables.collect(), functions }
    }
}

impl Names for Known {
    fn tables(&self) -> &[(&'static str, String)] {
        &self.tables
    }

    fn functions(&self) -> &[String] {
        &self.functions
    }

    fn columns(&self, schema: &'static str, table: &str) -> Option<SchemaRef> {
        let text = |name: &str| Field::new(name, DataType::Utf8, true);
        if table != "events" {
            return None;
        }
        if schema == "quarantine" {
            return Some(Arc::new(Schema::new(vec![text("reason")])));
        }
        let org = Field::new("org", DataType::Struct(vec![text("name")].into()), true);
        let actor = Field::new("actor", DataType::Struct(vec![text("login"), text("url"), org].into()), true);
        Some(Arc::new(Schema::new(vec![text("id"), text("created_at"), actor, text("order")])))
    }
}

/// What is offered at `|`, as it would be typed.
fn at(text: &str) -> Vec<String> {
    let cursor = text.find('|').unwrap();
    let line = text.replacen('|', "", 1);
    let (start, found) = complete(&line, cursor, &Known::new());
    assert!(start <= cursor);
    found
}

#[test]
fn tables_and_schemas_follow_from() {
    let all = ["\"Web.Hooks-2\"", "events", "lake.", "quarantine.", "raw."];
    assert_eq!(at("select * from |"), all);
    assert_eq!(at("select * from ev|"), ["events"]);
    assert_eq!(at("select * from EV|"), ["events"]);
    assert_eq!(at("select * from events join la|"), ["lake."]);
    assert_eq!(at("select * from lake.|"), ["\"Web.Hooks-2\"", "events"]);
    assert_eq!(at("select * from quarantine.e|"), ["events"]);
    assert_eq!(at("select * from lake.\"We|"), ["\"Web.Hooks-2\""]);
}

#[test]
fn columns_of_named_tables_are_offered_before_and_behind_from() {
    for text in [
        "select cre| from events",
        "select * from events where cre|",
        "select 1; select * from lake.events e\nwhere e.id = 1 and e.cre|; select 2",
        "select events.cre| from raw.events, events",
        "select * from siltstone.lake.events where cre|",
    ] {
        assert_eq!(at(text), ["created_at"], "{text}");
    }
    assert_eq!(at("select | from quarantine.events"), ["reason"]);
    assert_eq!(at("select 1 from events; select cre|"), [""; 0]);
}

#[test]
fn fields_of_rows_are_offered_at_any_depth() {
    assert_eq!(at("select actor.| from events"), ["login", "org", "url"]);
    assert_eq!(at("select e.actor.org.n| from lake.events as e"), ["name"]);
    assert_eq!(at("select lake.events.actor.l| from lake.events"), ["login"]);
    assert_eq!(at("select id.| from events"), [""; 0]);
    assert_eq!(at("select nope.| from events"), [""; 0]);
}

#[test]
fn names_that_need_quotes_get_them() {
    assert_eq!(at("select e.ord| from events e"), ["\"order\""]);
    assert_eq!(at("select \"cre| from events"), ["\"created_at\""]);
    assert_eq!(at("select * from events where \"cre|"), ["\"created_at\""]);
}

#[test]
fn keywords_and_functions_are_written_as_they_are_begun() {
    assert_eq!(at("sel|"), ["select"]);
    assert_eq!(at("SEL|"), ["SELECT"]);
    assert_eq!(at("select * from events wh|"), ["when", "where"]);
    assert_eq!(at("SELECT cou|"), ["count("]);
    assert_eq!(at("select json|"), ["json", "json_extract("]);
    assert!(at("|").contains(&"SELECT".to_owned()));
}

#[test]
fn aliases_are_offered() {
    assert_eq!(at("select * from events happened where hap|"), ["happened"]);
}

#[test]
fn nothing_is_offered_in_text_and_comments() {
    for text in ["select 'ev|", "select 1 -- ev|", "select /* ev|", "select $$ev|"] {
        assert_eq!(at(text), [""; 0], "{text}");
    }
}
