//! Properties of what people say of columns, and of contracts: under any of them every record is a row that holds its
//! values, or a reject that names the column; nothing becomes null.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::exact::{Exact, holds_members};
use super::properties::{config, space};
use super::*;
use crate::lake::{Registry, RunStamp};
use crate::partition::Partitioning;
use crate::schema::{Contract, Forced, Rule};

/// Scalars of every kind, in more than one notation, and strings that are the text of some.
const SCALARS: [&str; 30] = [
    "null",
    "true",
    "0",
    "1",
    "-7",
    "-0",
    "1.10",
    "2.5e1",
    "100000.001",
    "9007199254740993",
    "9007199254740994",
    "9223372036854775808",
    "123456789012345678901234567890123456789",
    "1e400",
    "\"\"",
    "\"x\"",
    "\"12\"",
    "\"012\"",
    "\"-7.5\"",
    "\"1e2\"",
    "\"12345678901234567890\"",
    "\"true\"",
    "\"2025-02-03\"",
    "\"2025-02-30\"",
    "\"2025-02-03T04:05:06Z\"",
    "\"2025-02-03T04:05:06.123456+01:00\"",
    "\"2025-02-03 04:05:06\"",
    "\"2025-02-03T04:05:06.1234567Z\"",
    "{}",
    "[]",
];

/// Paths that something is said of. Those of one group exclude each other.
const PATHS: [&[&str]; 5] =
    [&["a", "a.b", "a.a", "a[]", "a[].b", "a{}"], &["b", "b[]", "b.c_d"], &["c_d", "c_d[][]"], &["é", "é.b"], &["e"]];

/// What is said of a column; none: that it is left out.
fn said() -> impl Strategy<Value = Option<Forced>> {
    let types =
        ["string", "bigint", "double", "decimal(5,2)", "decimal(38,0)", "timestamp", "date", "json", "map", "drop"];
    select(types.to_vec()).prop_map(|ty| ty.parse().ok())
}

fn rules() -> impl Strategy<Value = Rule> {
    let group = (0..PATHS.len()).prop_flat_map(|group| select(PATHS[group].to_vec()));
    vec((group, said()), 0..4).prop_map(|said| {
        let mut rule = Rule::default();
        for (path, ty) in said {
            let at = rule.at_path(path).unwrap();
            let is_key = !path.ends_with([']', '}']);
            *at = Rule { ty, drop: ty.is_none() && is_key, ..std::mem::take(at) };
        }
        rule
    })
}

fn value(scalars: Vec<&'static str>) -> impl Strategy<Value = String> {
    select(scalars).prop_map(str::to_owned).prop_recursive(2, 6, 3, |inner| {
        prop_oneof![object(inner.clone()), vec(inner, 1..3).prop_map(|elements| format!("[{}]", elements.join(" ,")))]
    })
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let key = prop_oneof![8 => select(vec!["a", "b", "c d", "é"]), 1 => select(vec!["A", "B", "c_D", "\\u0061", "e"])];
    (vec((key, value), 1..4), space()).prop_map(|(members, space)| {
        let members: Vec<String> =
            members.into_iter().map(|(key, value)| format!("\"{key}\":{space}{value}")).collect();
        format!("{{{}}}", members.join(",")).replace(['\n', '\r'], " ")
    })
}

/// Records, one to a line, whose values are few, so that those of a table and those that follow often agree.
fn records() -> impl Strategy<Value = (Vec<String>, Vec<String>)> {
    let scalars = subsequence(SCALARS.to_vec(), 1..6);
    (scalars.clone(), scalars).prop_flat_map(|(before, more)| {
        let later = [before.clone(), more].concat();
        (vec(object(value(before)), 0..5), vec(object(value(later)), 1..7))
    })
}

fn contracts() -> impl Strategy<Value = Contract> {
    select(vec![Contract::Evolve, Contract::AddOnly, Contract::Freeze])
}

/// What a run made of records, each on a line of its own.
#[derive(Debug, PartialEq)]
struct Run {
    registry: Registry,
    rows: Vec<String>,
    /// Where the record begins, and why it was rejected.
    rejects: BTreeMap<u64, (Reason, Option<String>)>,
}

/// What `compact` does: it observes, settles the columns, and decodes into them.
fn run(before: &Registry, options: &DecodeOptions, records: &[String], sizes: &[usize]) -> Run {
    let contract = if before.fields.is_empty() { Contract::Evolve } else { options.contract };
    let options = &DecodeOptions { contract, ..options.clone() };
    let text: String = records.iter().map(|record| format!("{record}\n")).collect();
    let decode = |seed: &Observation, mut each: Box<dyn FnMut(&mut Decoder) + '_>| {
        let mut decoder = Decoder::new(options, seed);
        let mut rejects = BTreeMap::new();
        feed(&mut decoder, &[text.as_bytes()], sizes, |decoder, decoded, _| {
            assert!(decoded.counts.iter().all(|counts| counts.records == counts.rows + counts.rejected));
            for reject in &decoded.rejects {
                assert!((reject.offset..reject.offset + reject.bytes.len() as u64).contains(&reject.fault_offset));
                rejects.insert(reject.offset, (reject.reason, reject.column.clone()));
            }
            each(decoder);
        });
        (decoder.observe(), rejects)
    };
    let (observed, rejects) = decode(&before.observed, Box::new(|_| {}));
    let registry = before.advance(&observed, options, &RunStamp::default());
    let mut rows = Vec::new();
    let schema = arrow_schema(&registry.fields);
    let (_, again) = decode(
        &before.known_again(&registry, options.contract),
        Box::new(|decoder| rows.extend(texts(&decoder.finish(&registry.fields, &schema).unwrap(), &registry.fields))),
    );
    assert_eq!(again, rejects, "settled columns refuse the same");
    Run { registry, rows, rejects }
}

fn no_table() -> Registry {
    Registry {
        history: Vec::new(),
        provenance: None,
        partitioning: Partitioning::default(),
        partitioning_reason: String::new(),
        records_path: Vec::new(),
        rule: Rule::default(),
        observed: Observation::default(),
        fields: Vec::new(),
    }
}

/// Checks that each record is a row that holds its values, or a reject that names a column.
fn check_records(run: &Run, rule: &Rule, records: &[String]) {
    let (mut offset, mut rows) = (0, run.rows.iter());
    for record in records {
        match run.rejects.get(&offset) {
            Some((reason, column)) => {
                assert!(matches!(reason, Reason::TypeMismatch | Reason::UnknownColumn), "{reason:?}");
                assert!(column.as_ref().is_some_and(|column| !column.is_empty()), "{record}");
            }
            None => {
                let row = rows.next().unwrap();
                let is_held = holds_members(&Exact::of(row), &Exact::of(record), &run.registry.fields, Some(rule));
                assert!(is_held, "{record} became {row} in {:?}", run.registry.fields);
            }
        }
        offset += record.len() as u64 + 1;
    }
    assert_eq!(rows.next(), None);
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn under_any_rules_and_contract_a_record_is_a_row_of_its_values_or_a_reject_with_a_column(
        (before, later) in records(), rule in rules(), contract in contracts(), sizes in vec(1..200_usize, 1..4)
    ) {
        let options = DecodeOptions { rule, contract, ..DecodeOptions::default() };
        let first = run(&no_table(), &options, &before, &[usize::MAX]);
        check_records(&first, &options.rule, &before);
        let whole = run(&first.registry, &options, &later, &[usize::MAX]);
        check_records(&whole, &options.rule, &later);
        prop_assert_eq!(&run(&first.registry, &options, &later, &sizes), &whole);

        // What becomes of a record does not depend on the others: neither order nor threads matter.
        let mut offset = 0;
        for record in &later {
            let alone = run(&first.registry, &options, std::slice::from_ref(record), &[usize::MAX]);
            prop_assert_eq!(alone.rejects.get(&0), whole.rejects.get(&offset), "{}", record);
            offset += record.len() as u64 + 1;
        }

        let (old, new) = (&first.registry, &whole.registry);
        let changes = new.changes_since(Some(old));
        if old.fields.is_empty() || contract == Contract::Evolve {
            return Ok(());
        }
        prop_assert!(changes.iter().all(|change| change.before.is_none()), "{:?}", changes);
        prop_assert!(contract != Contract::Freeze || changes.is_empty(), "{:?}", changes);
    }
}

#[test]
fn keys_that_part_as_one_becomes_json_text_keep_their_values() {
    let options = DecodeOptions::default();
    let before = ["{\"A\":{\"a\":[]}}".to_owned(), "{\"a\":{\"é\":[]}}".to_owned()];
    let later = ["{\"A\":{\"é\":{\"a\":\"true\"}},\"a\":[]}".to_owned()];
    let first = run(&no_table(), &options, &before, &[usize::MAX]);
    check_records(&run(&first.registry, &options, &later, &[usize::MAX]), &options.rule, &later);
}

#[test]
fn keys_that_part_when_one_gets_its_first_values_are_decoded() {
    let options = DecodeOptions::default();
    let before = ["{\"a\":null}".to_owned(), "{\"A\":{\"a\":null}}".to_owned()];
    let later = ["{\"a\":[\"2025-02-03T04:05:06.123456+01:00\"]}".to_owned()];
    let first = run(&no_table(), &options, &before, &[usize::MAX]);
    check_records(&run(&first.registry, &options, &later, &[usize::MAX]), &options.rule, &later);
}
