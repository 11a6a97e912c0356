//! What people say of columns: types, drops, names, contracts, and the most columns there may be. What does not fit is
//! rejected with its column, never stored as null.

use super::*;
use crate::schema::{Contract, Forced, Rule, limit_columns, resolve_ruled};

fn rule(said: &[(&str, &str)]) -> Rule {
    let mut rule = Rule::default();
    for (path, ty) in said {
        rule.at_path(path).unwrap().ty = Some(ty.parse::<Forced>().unwrap());
    }
    rule
}

fn options(said: &[(&str, &str)]) -> DecodeOptions {
    DecodeOptions { rule: rule(said), ..DecodeOptions::default() }
}

/// Rows and (reason, column, text at the fault) of the rejects, which must not depend on where windows end.
fn read_as(options: &DecodeOptions, seed: &Observation, text: &str) -> (Vec<String>, Vec<(Reason, String, String)>) {
    let mut known = seed.clone();
    let mut results = Vec::new();
    for sizes in [&[usize::MAX][..], &[7], &[1, 40]] {
        let mut decoder = Decoder::new(options, seed);
        let mut rejects = Vec::new();
        feed(&mut decoder, &[text.as_bytes()], sizes, |_, decoded, _| {
            for counts in &decoded.counts {
                assert_eq!(counts.records, counts.rows + counts.rejected);
            }
            rejects.extend(decoded.rejects.iter().map(|reject| {
                let fault = &text[reject.fault_offset as usize..(reject.offset as usize + reject.bytes.len())];
                let end = fault.find([',', '}', '\n']).unwrap_or(fault.len());
                (reject.reason, reject.column.clone().unwrap_or_default(), fault[..end].to_owned())
            }));
        });
        known = seed.clone();
        known.merge(&decoder.observe());
        let fields = resolve_ruled(&known, &[], &options.rule);
        let mut decoder = Decoder::new(options, &known);
        let mut rows = Vec::new();
        feed(&mut decoder, &[text.as_bytes()], sizes, |decoder, _, _| {
            rows.extend(texts(&decoder.finish(&fields, &arrow_schema(&fields)).unwrap(), &fields));
        });
        results.push((rows, rejects));
    }
    assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:?}");
    assert!(!known.overflow || options.max_columns < 100);
    results.remove(0)
}

fn read_said(said: &[(&str, &str)], text: &str) -> (Vec<String>, Vec<(Reason, String, String)>) {
    read_as(&options(said), &Observation::default(), text)
}

fn mismatch(column: &str, text: &str) -> (Reason, String, String) {
    (Reason::TypeMismatch, column.to_owned(), text.to_owned())
}

#[test]
fn values_are_taken_when_they_are_exactly_of_the_type_that_was_said() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "bigint",
            &["1", "\"-12\"", "9223372036854775807"],
            &["1.0", "\"01\"", "\"1 \"", "true", "9223372036854775808", "[1]"],
        ),
        (
            "double",
            &["1.5", "1", "\"2.5e1\"", "9007199254740994"],
            &["9007199254740993", "1e400", "\"x\"", "{\"a\":1}"],
        ),
        ("decimal(5,2)", &["1.5", "-999.99", "\"12\"", "1e2"], &["1.555", "1000", "\"1,5\"", "false"]),
        (
            "timestamp",
            &["\"2024-01-01T00:00:00Z\""],
            &["\"2024-01-01\"", "1704067200", "\"2024-01-01T00:00:00.1234567Z\""],
        ),
        ("date", &["\"2024-01-01\""], &["\"2024-01-01T00:00:00Z\"", "\"2024-02-30\""]),
        ("string", &["\"x\"", "1.10", "true", "\"2024-01-01\""], &["[1]", "{\"a\":1}"]),
        ("json", &["\"x\"", "1.10", "[1 ]", "{ \"a\":1}", "true"], &[]),
        ("map", &["{\"a\":1}", "{}"], &["1", "[1]", "\"x\""]),
    ];
    for (ty, good, bad) in cases {
        let line = |value: &&str| format!("{{\"v\":{value}}}\n");
        // A null is no value, and bad ones stand between good ones.
        let text: String = ["null"].iter().chain(*good).chain(*bad).chain(*good).map(line).collect();
        let (rows, rejects) = read_said(&[("v", ty)], &text);
        assert_eq!(rows.len(), 1 + 2 * good.len(), "{ty}: {rows:?}");
        assert!(rows[1..].iter().all(|row| row.starts_with("{\"v\":")), "{ty}: a value became null: {rows:?}");
        assert_eq!(rejects.len(), bad.len(), "{ty}: {rejects:?}");
        for ((reason, column, text), bad) in rejects.iter().zip(*bad) {
            assert_eq!((*reason, column.as_str()), (Reason::TypeMismatch, "v"), "{ty}");
            assert!(bad.starts_with(text.as_str()), "{ty}: {text} is not at the begin of {bad}");
        }
    }
}

#[test]
fn a_type_that_was_said_is_the_type_of_the_column_whatever_comes() {
    let text = "{\"a\":1,\"b\":[{\"p\":1.5},{\"p\":\"2.25\"}],\"m\":{\"x\":1},\"j\":{\"k\":[1,\"x\"]}}\n{\"a\":2}\n";
    let said = [("a", "string"), ("b[].p", "decimal(10,2)"), ("m", "map"), ("m{}", "double"), ("j", "json")];
    let (rows, rejects) = read_said(&said, text);
    assert_eq!(rejects, []);
    assert_eq!(rows, [r#"{"a":"1","b":[{"p":1.50},{"p":2.25}],"m":{"x":1.0},"j":{"k":[1,"x"]}}"#, r#"{"a":"2"}"#]);
    let (rows, rejects) =
        read_said(&said, "{\"b\":[{\"p\":1},{\"p\":[]}]}\n{\"m\":{\"k.1\":1,\"y\":\"z\"}}\n{\"b\":[]}\n");
    assert_eq!(rows, ["{}"]);
    assert_eq!(rejects, [mismatch("b[].p", "[]"), mismatch("m{}", "\"z\"")]);
}

#[test]
fn spellings_of_one_name_share_the_type_that_was_said() {
    let (rows, rejects) =
        read_said(&[("userid", "string")], "{\"userId\":1}\n{\"USERID\":{\"a\":1}}\n{\"userid\":\"x\"}\n");
    assert_eq!(rows, [r#"{"userId":"1"}"#, r#"{"userId":"x"}"#]);
    assert_eq!(rejects, [mismatch("USERID", "{\"a\":1")]);
}

#[test]
fn dropped_columns_are_checked_and_left_out() {
    let mut rule = Rule::default();
    rule.at_path("secret").unwrap().drop = true;
    rule.at_path("p.inner").unwrap().drop = true;
    let options = DecodeOptions { rule, ..DecodeOptions::default() };
    let text = "{\"a\":1,\"Secret\":{\"x\":1},\"p\":{\"inner\":[1],\"q\":2}}\n{\"secret\":[}\n{\"secret\":1}\n";
    let (rows, rejects) = read_as(&options, &Observation::default(), text);
    assert_eq!(rows, [r#"{"a":1,"p":{"q":2}}"#, "{}"]);
    assert_eq!(rejects.len(), 1);
}

#[test]
fn columns_get_the_names_that_were_said() {
    let mut rule = Rule::default();
    rule.at_path("userName").unwrap().rename = Some("user".to_owned());
    rule.at_path("p[].ID").unwrap().rename = Some("key".to_owned());
    let seen = read("{\"userName\":\"x\",\"p\":[{\"ID\":1}]}\n").observation;
    let fields = resolve_ruled(&seen, &[], &rule);
    assert_eq!(fields[0].name, "user");
    let Type::List(element) = &fields[1].ty else { panic!("{fields:?}") };
    let Type::Struct(below) = &**element else { panic!("{fields:?}") };
    assert_eq!((below[0].name.as_str(), below[0].keys.as_slice()), ("key", &["ID".to_owned()][..]));
}

/// An observation as a table has it: with the names of its columns.
fn committed(text: &str) -> Observation {
    fn pin(seen: &mut Observation) {
        for (key, below) in &mut seen.fields {
            let is_column =
                resolve(&Observation { fields: [(key.clone(), below.clone())].into(), ..Observation::default() }, &[]);
            below.column = is_column.first().map(|field| field.name.clone());
            pin(below);
        }
        seen.element.iter_mut().for_each(|below| pin(below));
        seen.dictionary.iter_mut().for_each(|below| pin(below));
    }
    let mut seen = read(text).observation;
    pin(&mut seen);
    seen
}

const TABLE: &str = r#"{"id":1,"x":1.5,"s":"t","o":{"a":1},"l":[{"p":1}],"t":"2024-01-01","n":null,"e":[null]}"#;

fn under(contract: Contract, text: &str) -> (Vec<String>, Vec<(Reason, String, String)>) {
    read_as(&DecodeOptions { contract, ..DecodeOptions::default() }, &committed(TABLE), text)
}

#[test]
fn add_only_takes_new_columns_and_refuses_wider_types() {
    let good = [
        r#"{"id":2,"x":1,"s":"2024-01-01","new":{"deep":[1]},"o":{"b":"x"},"l":[{"q":2}],"n":7}"#,
        r#"{"id":null,"s":5,"o":{},"l":[],"e":[null],"new":"any"}"#,
        r#"{"ID":3}"#,
    ];
    let bad = [
        (r#"{"id":1.5}"#, "id", "1.5"),
        (r#"{"id":4,"x":9007199254740993}"#, "x", "9007199254740993"),
        (r#"{"s":{"a":1}}"#, "s", "{\"a\":1"),
        (r#"{"o":{"a":"x"}}"#, "o.a", "\"x\""),
        (r#"{"o":5}"#, "o", "5"),
        (r#"{"l":[{"p":1},{"q":1,"p":true}]}"#, "l[].p", "true"),
        (r#"{"t":"today"}"#, "t", "\"today\""),
        (r#"{"e":[1]}"#, "e[]", "1]"),
        (r#"{"ID":"x"}"#, "ID", "\"x\""),
    ];
    let mut lines: Vec<&str> = bad.iter().map(|(line, ..)| *line).collect();
    lines.splice(3..3, good);
    let (rows, rejects) = under(Contract::AddOnly, &(lines.join("\n") + "\n"));
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert_eq!(rejects, bad.map(|(_, column, text)| mismatch(column, text)));
    // What is new may still be of any type.
    assert!(rows[0].contains(r#""new":{"deep":[1]}"#) && rows[1].contains(r#""new":"any""#), "{rows:?}");
}

#[test]
fn a_frozen_table_takes_no_new_column_either() {
    let text = [
        r#"{"id":2,"x":1,"o":{},"unknown":null,"other":[],"more":{}}"#,
        r#"{"unknown":0}"#,
        r#"{"o":{"a":1,"b":"x"}}"#,
        r#"{"l":[{"q":2}]}"#,
        r#"{"n":7}"#,
        r#"{"id":1.5}"#,
        r#"{"Id":8,"l":[{"p":null}]}"#,
    ];
    let (rows, rejects) = under(Contract::Freeze, &(text.join("\n") + "\n"));
    assert_eq!(rows.len(), 2, "{rows:?}");
    let unknown = |column: &str, text: &str| (Reason::UnknownColumn, column.to_owned(), text.to_owned());
    assert_eq!(
        rejects,
        [
            unknown("unknown", "0"),
            unknown("o.b", "\"x\""),
            unknown("l[].q", "2"),
            unknown("n", "7"),
            mismatch("id", "1.5")
        ]
    );
}

#[test]
fn what_is_said_below_a_column_says_that_it_has_something_below() {
    let text = "{\"a\":{\"b\":1},\"l\":[1]}\n{\"a\":5}\n{\"l\":{}}\n{\"a\":{\"b\":\"x\"}}\n{\"a\":{},\"l\":[null]}\n";
    let (rows, rejects) = read_said(&[("a.b", "bigint"), ("l[]", "double")], text);
    assert_eq!(rows, [r#"{"a":{"b":1},"l":[1.0]}"#, r#"{"a":{},"l":[null]}"#]);
    assert_eq!(rejects, [mismatch("a", "5"), mismatch("l", "{"), mismatch("a.b", "\"x\"")]);
}

#[test]
fn another_spelling_of_a_key_shares_no_json_text() {
    let seed = committed("{\"j\":1}\n{\"j\":[1]}\n");
    let text = "{\"J\":{\"x\":1}}\n";
    let options = |contract| DecodeOptions { contract, ..DecodeOptions::default() };
    let (rows, rejects) = read_as(&options(Contract::AddOnly), &seed, text);
    assert_eq!((rows, rejects), (vec![r#"{"J":{"x":1}}"#.to_owned()], vec![]));
    let (rows, rejects) = read_as(&options(Contract::Freeze), &seed, text);
    assert_eq!((rows.len(), rejects[0].0), (0, Reason::UnknownColumn));
}

#[test]
fn keys_of_a_frozen_table_that_share_a_column_do_not_part() {
    let (rows, rejects) = under(Contract::Freeze, "{\"ID\":1}\n{\"id\":1,\"ID\":2}\n");
    assert_eq!(rows, [r#"{"ID":1}"#]);
    assert_eq!(rejects, [(Reason::UnknownColumn, "ID".to_owned(), "2".to_owned())]);
}

#[test]
fn a_list_of_nulls_stays_one_under_a_contract() {
    let seed = committed("{\"e\":[{}],\"f\":[[]]}\n");
    let options = DecodeOptions { contract: Contract::AddOnly, ..DecodeOptions::default() };
    let (rows, rejects) =
        read_as(&options, &seed, "{\"e\":[{}],\"f\":[[],null]}\n{\"e\":[{\"a\":1}]}\n{\"f\":[[null]]}\n");
    assert_eq!(rows.len(), 1);
    assert_eq!(rejects.iter().map(|(_, column, _)| column.as_str()).collect::<Vec<_>>(), ["e[].a", "f[]"]);
}

#[test]
fn a_contract_binds_once_there_are_columns() {
    for contract in [Contract::AddOnly, Contract::Freeze] {
        let options = DecodeOptions { contract, ..DecodeOptions::default() };
        let (rows, rejects) = read_as(&options, &Observation::default(), "{\"a\":1}\n{\"a\":\"x\",\"b\":2}\n");
        assert_eq!((rows.len(), rejects.len()), (2, 0));
    }
}

#[test]
fn a_struct_under_contract_never_becomes_a_map() {
    let keys: Vec<String> = (0..crate::schema::MAX_OBJECT_KEYS).map(|key| format!("\"k{key}\":1")).collect();
    let seed = committed(&format!("{{\"m\":{{{}}}}}", keys.join(",")));
    let options = DecodeOptions { contract: Contract::AddOnly, ..DecodeOptions::default() };
    let (rows, rejects) = read_as(&options, &seed, "{\"m\":{\"k1\":2}}\n{\"m\":{\"k1\":2,\"one more\":3}}\n");
    assert_eq!(rows, ["{\"m\":{\"k1\":2}}"]);
    assert_eq!(rejects, [(Reason::UnknownColumn, "m.one more".to_owned(), "3".to_owned())]);
}

#[test]
fn the_key_that_is_too_much_for_a_struct_under_contract_is_named() {
    let keys: Vec<String> = (0..crate::schema::MAX_OBJECT_KEYS - 1).map(|key| format!("\"k{key}\":1")).collect();
    let seed = committed(&format!("{{\"m\":{{{}}}}}", keys.join(",")));
    let options = DecodeOptions { contract: Contract::AddOnly, ..DecodeOptions::default() };
    let (rows, rejects) = read_as(&options, &seed, "{\"m\":{\"last\":1,\"one more\":3}}\n{\"m\":{\"k1\":2}}\n");
    assert_eq!(rows, ["{\"m\":{\"k1\":2}}"]);
    assert_eq!(rejects, [(Reason::UnknownColumn, "m.one more".to_owned(), "3".to_owned())]);
}

#[test]
fn keys_past_the_most_columns_are_kept_together() {
    let options = DecodeOptions { max_columns: 4, ..DecodeOptions::default() };
    let text = "{\"a\":1,\"b\":2,\"c\":3}\n{\"d\":4,\"\\u0065\":{\"x\": [1]},\"f\":\"6\"}\n{\"g\":7,\"a\":8}\n{}\n{\"h\":null}\n";
    let (rows, rejects) = read_as(&options, &Observation::default(), text);
    assert_eq!(rejects, []);
    let values: Vec<Value> = rows.iter().map(|row| serde_json::from_str(row).unwrap()).collect();
    let expected: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(values, expected);
}

#[test]
fn a_contract_binds_other_spellings_of_a_column_past_the_most_columns_too() {
    let seed = committed("{\"a\":1,\"o\":{\"x\":1}}");
    let options = DecodeOptions { contract: Contract::AddOnly, max_columns: 3, ..DecodeOptions::default() };
    let text = "{\"A\":\"x\"}\n{\"b\":1,\"c\":2,\"d\":3}\n{\"A\":\"x\"}\n{\"A\":2,\"e\":5}\n{\"O\":{\"x\":2}}\n";
    let (rows, rejects) = read_as(&options, &seed, text);
    assert_eq!(rows, ["{\"b\":1,\"c\":2,\"d\":3}", "{\"A\":2,\"e\":5}"]);
    let foreign = (Reason::UnknownColumn, "O".to_owned(), "{\"x\":2".to_owned());
    assert_eq!(rejects, [mismatch("A", "\"x\""), mismatch("A", "\"x\""), foreign]);
}

#[test]
fn a_spelling_of_columns_that_parted_is_none_of_them() {
    let seed = committed("{\"a_\":\"\"}\n{\"a`\":[]}");
    for contract in [Contract::AddOnly, Contract::Freeze] {
        let options = DecodeOptions { contract, ..DecodeOptions::default() };
        let (rows, rejects) = read_as(&options, &seed, "{\"a \":1}\n{\"a_\":\"x\"}");
        match contract {
            Contract::Freeze => {
                assert_eq!(rows, ["{\"a_\":\"x\"}"]);
                assert_eq!(rejects, [(Reason::UnknownColumn, "a ".to_owned(), "1".to_owned())]);
            }
            _ => assert_eq!(rows, ["{\"a \":1}", "{\"a_\":\"x\"}"]),
        }
    }
}

#[test]
fn spellings_in_refused_records_take_no_columns_place() {
    let seed = committed("{\"a\":1}");
    let options = DecodeOptions { contract: Contract::AddOnly, max_columns: 2, ..DecodeOptions::default() };
    let (rows, rejects) = read_as(&options, &seed, "{\"A\":\"x\"}\n{\"b\":{}}\n{\"a\":\"y\"}\n{\"b\":{\"c\":1}}\n");
    assert_eq!(rows, ["{\"b\":{}}", "{\"b\":{\"c\":1}}"]);
    assert_eq!(rejects, [mismatch("A", "\"x\""), mismatch("a", "\"y\"")]);
}

#[test]
fn keys_that_share_a_bound_column_are_refused_in_one_record() {
    let seed = committed("{\"ID\":3}");
    for contract in [Contract::AddOnly, Contract::Freeze] {
        let options = DecodeOptions { contract, ..DecodeOptions::default() };
        let (rows, rejects) = read_as(&options, &seed, "{\"id\":1.5}\n{\"id\":0,\"ID\":4}\n{\"id\":1}\n");
        assert_eq!(rows, ["{\"ID\":1}"]);
        let second = (Reason::UnknownColumn, "ID".to_owned(), "4".to_owned());
        assert_eq!(rejects, [mismatch("id", "1.5"), second]);
    }
}

#[test]
fn other_spellings_of_a_frozen_tables_columns_are_not_too_many() {
    let seed = committed("{\"a\":1,\"b\":1}");
    let options = DecodeOptions { contract: Contract::Freeze, max_columns: 2, ..DecodeOptions::default() };
    let (rows, rejects) = read_as(&options, &seed, "{\"A\":2}\n{\"B\":3}\n{\"c\":4}\n");
    assert_eq!(rows, ["{\"A\":2}", "{\"B\":3}"]);
    assert_eq!(rejects, [(Reason::UnknownColumn, "c".to_owned(), "4".to_owned())]);
}

#[test]
fn a_map_beside_another_spelling_of_few_keys_gives_way_as_one() {
    let observe = |text: &str| {
        let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
        feed(&mut decoder, &[text.as_bytes()], &[usize::MAX], |_, _, _| {});
        decoder.observe()
    };
    let mut seen = observe("{\"m\":{\"a\":{\"x\":1}}}");
    seen.fields.get_mut("m").unwrap().collapse();
    seen.merge(&observe("{\"M\":{\"b\":{\"e\":{\"y\":1,\"z\":2}}}}"));
    limit_columns(&mut seen, &[], &Rule::default(), 3);
    let fields = resolve(&seen, &[]);
    assert_eq!(format!("{:?}", fields[0].ty), "Map(Map(Json))");
}

#[test]
fn a_hundred_thousand_keys_make_no_hundred_thousand_columns() {
    let text: String = (0..100_000).map(|key| format!("{{\"id\":{key},\"k{key}\":{key}.5}}\n")).collect();
    let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
    feed(&mut decoder, &[text.as_bytes()], &[1 << 20], |_, _, _| {});
    let mut seen = decoder.observe();
    assert!(seen.overflow && seen.fields.len() <= MAX_COLUMNS, "{}", seen.fields.len());
    limit_columns(&mut seen, &[], &Rule::default(), 100);
    let fields = resolve(&seen, &[]);
    assert_eq!(fields.last().unwrap().name, "overflow");
    assert_eq!(seen.fields["id"].tally.total(), 100_000);
}

#[test]
fn the_first_object_of_each_kind_and_the_last_of_all_are_known() {
    let objects: [&[u8]; 4] = [
        b"{\"a\":null,\"l\":[{\"x\":1}]}",
        b"{\"a\":1}{\"a\":2,\"l\":[{\"y\":1},{\"x\":\"s\"}]}",
        b"{\"a\":\"t\",\"l\":[]}{\"a\":3}",
        b"{\"a\":null}{\"l\":[null]}",
    ];
    for sizes in [&[usize::MAX][..], &[3], &[25]] {
        let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
        feed(&mut decoder, &objects, sizes, |_, _, _| {});
        let seen = decoder.observe_with_objects(|object| format!("o{object}"));
        let a = &seen.fields["a"];
        let first: Vec<(&str, &str)> = a.first.iter().map(|(kind, key)| (kind.name(), key.as_str())).collect();
        assert_eq!(first, [("null", "o0"), ("integer", "o1"), ("string", "o2")]);
        assert_eq!((a.first_object(), a.last.as_deref()), (Some("o1"), Some("o2")));
        let x = &seen.fields["l"].element.as_ref().unwrap().fields["x"];
        assert_eq!((x.first_object(), x.last.as_deref()), (Some("o0"), Some("o1")));
        assert_eq!(seen.fields["l"].last.as_deref(), Some("o3"));
    }
}
