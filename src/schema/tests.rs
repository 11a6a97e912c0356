//! Laws of observations and of what is resolved from them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test says what it expects by panicking")]

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

/// Keys of which several fold to one name.
const KEYS: [&str; 8] = ["a", "A", "b c", "B_C", "b_c", "", "_", "é"];

/// An observation of one path, as a decoder gives it: with children only where the class has some.
fn observation() -> impl Strategy<Value = Observation> {
    let leaf = scalars().prop_map(|(tally, ints)| Observation { tally, ints, ..Observation::default() });
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            3 => object(inner.clone()),
            2 => (scalars(), inner.clone(), 1..3_u64).prop_map(|((tally, _), element, count)| {
                let mut seen = Observation { element: Some(Box::new(element)), ..Observation::default() };
                seen.tally.add_many(Kind::Array, count);
                seen.tally.add_many(Kind::Null, tally.count(Kind::Null));
                seen
            }),
            1 => inner.clone().prop_map(|value| {
                let mut seen = Observation { dictionary: Some(Box::new(value)), ..Observation::default() };
                seen.tally.add(Kind::Object);
                seen
            }),
            1 => (object(inner), scalars()).prop_map(|(mut seen, (tally, ints))| {
                // As JSON text, mostly.
                seen.tally.merge(&tally);
                seen.ints = ints;
                if seen.kinds().class() == Class::Json {
                    seen.fields.clear();
                    seen.together.clear();
                }
                seen
            }),
        ]
    })
}

/// Kinds without children, and a range where there are integers.
fn scalars() -> impl Strategy<Value = (Tally, Option<IntRange>)> {
    let kinds = subsequence(
        Kind::ALL.into_iter().filter(|kind| !matches!(kind, Kind::Object | Kind::Array)).collect::<Vec<_>>(),
        0..3,
    );
    (kinds, 1..4_u64, -9..9_i64, 0..9_i64).prop_map(|(kinds, count, min, width)| {
        let mut tally = Tally::default();
        kinds.iter().for_each(|kind| tally.add_many(*kind, count));
        let is_int = tally.count(Kind::Int) + tally.count(Kind::WideInt) > 0;
        (tally, is_int.then_some(IntRange { min, max: min + width }))
    })
}

fn object(value: impl Strategy<Value = Observation>) -> impl Strategy<Value = Observation> {
    let pin = prop_oneof![4 => Just(None), 1 => select(vec!["a", "c", "b_c"]).prop_map(Some)];
    let place = prop_oneof![1 => Just(None), 4 => (0..5_u32).prop_map(Some)];
    (
        btree_map(select(KEYS.to_vec()), (value, pin, place), 0..5),
        btree_set(select(vec!["a", "b_c", "_"]), 0..2),
        1..4_u64,
    )
        .prop_map(|(fields, together, count)| {
            let mut seen = Observation::default();
            seen.tally.add_many(Kind::Object, count);
            for (key, (mut field, pin, place)) in fields {
                (field.column, field.place) = (pin.map(str::to_owned), place);
                seen.fields.insert(key.to_owned(), field);
            }
            let folded = |name: &str| seen.fields.keys().filter(|key| fold(key) == name).count();
            seen.together = together.into_iter().filter(|name| folded(name) > 1).map(str::to_owned).collect();
            seen
        })
}

/// An observation of whole records.
fn root() -> impl Strategy<Value = Observation> {
    object(observation())
}

fn merged<'a>(parts: impl IntoIterator<Item = &'a Observation>) -> Observation {
    parts.into_iter().fold(Observation::default(), |mut all, part| {
        all.merge(part);
        all
    })
}

/// Every struct among the columns.
fn each_struct<'a>(fields: &'a [Field], visit: &mut impl FnMut(&'a [Field])) {
    fn below<'a>(ty: &'a Type, visit: &mut impl FnMut(&'a [Field])) {
        match ty {
            Type::Struct(fields) => each_struct(fields, visit),
            Type::List(inner) | Type::Map(inner) => below(inner, visit),
            _ => {}
        }
    }
    visit(fields);
    fields.iter().for_each(|field| below(&field.ty, visit));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merge_is_commutative(a in root(), b in root()) {
        prop_assert_eq!(merged([&a, &b]), merged([&b, &a]));
    }

    #[test]
    fn merge_is_associative(a in root(), b in root(), c in root()) {
        prop_assert_eq!(merged([&a, &merged([&b, &c])]), merged([&merged([&a, &b]), &c]));
    }

    #[test]
    fn nothing_observed_changes_nothing(a in root()) {
        let mut nothing_first = Observation::default();
        nothing_first.merge(&a);
        prop_assert_eq!(&nothing_first, &a);
        let mut nothing_last = a.clone();
        nothing_last.merge(&Observation::default());
        prop_assert_eq!(nothing_last, a);
    }

    #[test]
    fn what_was_seen_twice_has_the_same_types(a in root()) {
        prop_assert_eq!(resolve(&merged([&a, &a]), &[]), resolve(&a, &[]));
        let thrice = merged([&a, &merged([&a, &a])]);
        prop_assert_eq!(resolve(&thrice, &[]), resolve(&a, &[]));
    }

    #[test]
    fn types_do_not_depend_on_the_order_of_merging(
        (parts, order) in vec(root(), 2..5).prop_flat_map(|parts| {
            let indexes: Vec<usize> = (0..parts.len()).collect();
            (Just(parts), Just(indexes).prop_shuffle())
        })
    ) {
        let shuffled = merged(order.iter().map(|index| &parts[*index]));
        prop_assert_eq!(resolve(&shuffled, &["a".to_owned()]), resolve(&merged(&parts), &["a".to_owned()]));
    }

    #[test]
    fn observations_survive_being_stored(a in root()) {
        let text = serde_json::to_string(&a).unwrap();
        prop_assert_eq!(serde_json::from_str::<Observation>(&text).unwrap(), a);
    }

    #[test]
    fn types_survive_being_stored(a in root()) {
        let fields = resolve(&a, &[]);
        let text = serde_json::to_string(&fields).unwrap();
        prop_assert_eq!(serde_json::from_str::<Vec<Field>>(&text).unwrap(), fields);
    }

    #[test]
    fn names_are_distinct_and_safe_and_each_key_has_one_column(a in root(), b in root()) {
        let fields = resolve(&merged([&a, &b]), &["c".to_owned()]);
        prop_assert!(fields.iter().all(|field| field.name != "c"), "the name is reserved");
        each_struct(&fields, &mut |fields| {
            assert_eq!(fields.iter().map(|field| &field.name).collect::<BTreeSet<_>>().len(), fields.len());
            let keys: Vec<&String> = fields.iter().flat_map(|field| &field.keys).collect();
            assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), keys.len());
            for field in fields {
                let is_safe = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '_');
                assert!(!field.name.is_empty() && field.name.len() <= MAX_NAME_BYTES && field.name.chars().all(is_safe));
                assert!(!field.keys.is_empty() && field.keys.is_sorted());
            }
        });
    }

    #[test]
    fn a_name_once_given_stays(a in root(), b in root()) {
        let mut committed = a.clone();
        committed.fields.values_mut().for_each(|seen| seen.column = None);
        let before = resolve(&committed, &[]);
        for field in &before {
            for key in &field.keys {
                committed.fields.get_mut(key).unwrap().column = Some(field.name.clone());
            }
        }
        prop_assert_eq!(&resolve(&committed, &[]), &before);
        let mut fresh = b.clone();
        fresh.fields.values_mut().for_each(|seen| seen.column = None);
        let after = resolve(&merged([&committed, &fresh]), &[]);
        for old in &before {
            let new = after.iter().find(|new| new.name == old.name);
            prop_assert!(new.is_some_and(|new| new.keys.iter().any(|key| old.keys.contains(key))), "{}", old.name);
        }
    }

    #[test]
    fn types_that_widen_losslessly_do_so_step_by_step(a in root(), b in root(), c in root()) {
        let [a, b, c] = [&merged([&a]), &merged([&a, &b]), &merged([&a, &b, &c])].map(|seen| resolve(seen, &[]));
        prop_assert!(fields_widen_losslessly(&a, &a));
        if fields_widen_losslessly(&a, &b) && fields_widen_losslessly(&b, &c) {
            prop_assert!(fields_widen_losslessly(&a, &c));
        }
    }
}

/// An object with these keys, each seen once in `objects` objects, with values of `kind`.
fn keyed(keys: impl IntoIterator<Item = String>, objects: u64, kind: Kind) -> Observation {
    let mut value = Observation::default();
    value.tally.add(kind);
    let mut seen = Observation::default();
    seen.tally.add_many(Kind::Object, objects);
    seen.fields = keys.into_iter().map(|key| (key, value.clone())).collect();
    seen
}

fn below(key: &str, seen: Observation) -> Observation {
    let mut root = Observation::default();
    root.tally.add(Kind::Object);
    root.fields.insert(key.to_owned(), seen);
    root
}

fn numbered(range: std::ops::Range<usize>) -> impl Iterator<Item = String> {
    range.map(|key| format!("k{key}"))
}

fn orders() -> [[usize; 3]; 6] {
    [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]]
}

#[test]
fn more_keys_than_an_object_may_have_collapse_in_any_order_of_merging() {
    let most = MAX_OBJECT_KEYS * 2 / 3;
    let parts = [
        below("m", keyed(numbered(0..most), 1, Kind::Int)),
        below("m", keyed(numbered(most / 2..most * 3 / 2), 1, Kind::Double)),
        below("m", keyed(numbered(most * 2..most * 2 + 9), 1, Kind::Null)),
    ];
    let expected = merged(&parts);
    let value = expected.fields["m"].dictionary.as_deref().expect("collapsed");
    assert_eq!((value.tally.count(Kind::Int), value.tally.count(Kind::Double)), (most as u64, most as u64));
    assert!(expected.fields["m"].fields.is_empty());
    for [a, b, c] in orders() {
        assert_eq!(merged([&parts[a], &merged([&parts[b], &parts[c]])]), expected);
        assert_eq!(merged([&merged([&parts[a], &parts[b]]), &parts[c]]), expected);
    }
    assert_eq!(resolve(&expected, &[])[0].ty, Type::Map(Box::new(Type::Double)));
    let exactly = merged([&below("m", keyed(numbered(0..MAX_OBJECT_KEYS), 1, Kind::Int)), &parts[0]]);
    assert_eq!(exactly.fields["m"].fields.len(), MAX_OBJECT_KEYS);
}

#[test]
fn a_dictionary_takes_in_what_was_not_collapsed_in_any_order() {
    let mut collapsed = keyed(numbered(0..3), 2, Kind::Int);
    collapsed.collapse();
    let mut nested = below("x", keyed(numbered(0..2), 1, Kind::Bool));
    nested.fields.get_mut("x").unwrap().column = Some("x".to_owned());
    let mut rivals = keyed(["a".to_owned(), "A".to_owned()], 3, Kind::String);
    rivals.together.insert("a".to_owned());
    let parts = [below("m", collapsed), below("m", nested), below("m", rivals)];
    let expected = merged(&parts);
    for [a, b, c] in orders() {
        assert_eq!(merged([&parts[a], &merged([&parts[b], &parts[c]])]), expected);
        assert_eq!(merged([&merged([&parts[a], &parts[b]]), &parts[c]]), expected);
    }
    assert_eq!(expected.fields["m"].dictionary.as_ref().unwrap().tally.total(), 3 + 1 + 2);
    assert_eq!(resolve(&expected, &[])[0].ty, Type::Map(Box::new(Type::Json)));
}

#[test]
fn a_dictionary_that_meets_a_scalar_is_json_text_in_any_order() {
    let mut collapsed = keyed(numbered(0..3), 2, Kind::Int);
    collapsed.collapse();
    let mut scalar = Observation::default();
    scalar.tally.add(Kind::Int);
    let parts = [below("m", collapsed), below("m", scalar), below("m", keyed(numbered(7..9), 1, Kind::Bool))];
    let expected = merged(&parts);
    assert_eq!(expected.fields["m"].dictionary, None);
    for [a, b, c] in orders() {
        assert_eq!(merged([&parts[a], &merged([&parts[b], &parts[c]])]), expected);
    }
    assert_eq!(resolve(&expected, &[])[0].ty, Type::Json);
}

#[test]
fn the_keys_of_records_are_names_however_many() {
    let root = keyed(numbered(0..MAX_OBJECT_KEYS + 1), 100_000, Kind::Int);
    let twice = merged([&root, &root]);
    assert_eq!(resolve(&twice, &[]).len(), MAX_OBJECT_KEYS + 1);
}

#[test]
fn more_keys_than_an_object_may_have_are_a_dictionary_however_frequent_they_are() {
    let ty = |seen: Observation| resolve(&below("m", seen), &[])[0].ty.clone();
    for objects in [1, 100_000] {
        assert!(matches!(ty(keyed(numbered(0..MAX_OBJECT_KEYS), objects, Kind::Int)), Type::Struct(_)));
        assert_eq!(ty(keyed(numbered(0..MAX_OBJECT_KEYS + 1), objects, Kind::Int)), Type::Map(Box::new(Type::Int64)));
    }
}

#[test]
fn keys_that_fold_to_one_name_share_it_when_their_types_merge() {
    let mut root = keyed(["userId", "UserID", "USERID"].map(str::to_owned), 3, Kind::Int);
    root.fields.get_mut("UserID").unwrap().tally.add(Kind::Double);
    let fields = resolve(&root, &[]);
    assert_eq!(fields.len(), 1);
    assert_eq!((fields[0].name.as_str(), &fields[0].ty), ("userid", &Type::Double));
    assert_eq!(fields[0].keys, ["USERID", "UserID", "userId"]);
}

#[test]
fn keys_that_one_object_has_together_get_names_of_their_own() {
    let mut root = keyed(["id", "Id", "ID"].map(str::to_owned), 3, Kind::Int);
    root.together.insert("id".to_owned());
    let names = |root: &Observation, reserved: &[String]| {
        resolve(root, reserved).into_iter().map(|field| (field.keys.concat(), field.name)).collect::<BTreeMap<_, _>>()
    };
    let given = names(&root, &[]);
    assert_eq!(given["id"], "id", "the key that is spelled like the name keeps it");
    assert!(given["Id"].starts_with("id_") && given["ID"].starts_with("id_") && given["Id"] != given["ID"]);
    // The others' names depend on their own spelling, not on who else is there.
    root.fields.remove("id");
    root.fields.remove("ID");
    root.fields.insert("iD".to_owned(), root.fields["Id"].clone());
    assert!(names(&root, &[])["iD"].starts_with("id_"));
    assert_eq!(names(&root, &[])["Id"], "id", "else the first in byte order keeps it");
    assert_eq!(names(&root, &["id".to_owned()])["Id"], given["Id"]);
}

#[test]
fn a_column_that_keys_shared_keeps_its_type_when_they_part() {
    let mut table = keyed(["A".to_owned()], 1, Kind::Int);
    table.fields.insert("a".to_owned(), keyed([], 0, Kind::Null));
    table.fields.get_mut("a").unwrap().tally.add(Kind::String);
    table.fields.insert("m".to_owned(), table.fields["a"].clone());
    for (key, place) in [("a", 0), ("m", 1), ("A", 2)] {
        table.fields.get_mut(key).unwrap().place = Some(place);
    }
    let shared = resolve(&table, &[]);
    assert_eq!((shared.len(), &shared[0].ty), (2, &Type::Text));
    pin(&mut table, &shared);
    // An object has both.
    table.together.insert("a".to_owned());
    let parted = resolve(&table, &[]);
    assert_eq!(parted.len(), 3);
    assert!(parted.iter().any(|field| field.name == "a" && field.keys == ["A"] && field.ty == Type::Text));
    for _ in 0..2 {
        pin(&mut table, &parted);
        assert_eq!(resolve(&table, &[]), parted);
    }
}

#[test]
fn a_column_keeps_its_type_when_its_keys_part_below_two_spellings_of_an_object() {
    let mut table = Observation::default();
    for (outer, inner, kind) in
        [("c d", "é-", Kind::String), ("c_d", "É ", Kind::Int), ("c_d", "é-", Kind::Object), ("c_d", "É ", Kind::Null)]
    {
        table.merge(&below(outer, keyed([inner.to_owned()], 1, kind)));
        let fields = resolve(&table, &[]);
        let Type::Struct(inner) = &fields[0].ty else { panic!("a struct") };
        let shared = inner.iter().find(|field| field.name == "__").unwrap();
        assert_eq!(shared.ty, Type::Text, "the first rows are there");
        pin(&mut table, &fields);
        assert_eq!(resolve(&table, &[]), fields);
    }
}

#[test]
fn names_given_at_every_depth_take_no_exponential_time() {
    let mut value = keyed(["a".to_owned()], 1, Kind::Int);
    for _ in 0..MAX_COLUMN_DEPTH - 2 {
        value.fields.values_mut().for_each(|seen| seen.column = Some("a".to_owned()));
        value = below("a", value);
    }
    let mut fields = resolve(&value, &[]);
    for _ in 0..MAX_COLUMN_DEPTH - 2 {
        let Type::Struct(inner) = fields.remove(0).ty else { panic!("a struct") };
        fields = inner;
    }
    assert_eq!((fields[0].name.as_str(), &fields[0].ty), ("a", &Type::Int64));
}

#[test]
fn keys_whose_types_merge_to_json_text_only_get_names_of_their_own() {
    let mut root = keyed(["tag".to_owned()], 1, Kind::Int);
    root.fields.insert("Tag".to_owned(), keyed(["x".to_owned()], 1, Kind::Int));
    let fields = resolve(&root, &[]);
    assert_eq!(fields.len(), 2);
    assert!(fields.iter().any(|field| field.name == "tag" && field.ty == Type::Int64));
    assert!(fields.iter().any(|field| field.name.starts_with("tag_") && matches!(field.ty, Type::Struct(_))));
}

#[test]
fn a_suffix_that_is_taken_is_followed_by_another() {
    // A name of the greatest length, where a longer suffix would not fit.
    let long = "k".repeat(MAX_NAME_BYTES);
    let upper = long.to_uppercase();
    let mut root = keyed([long.clone(), upper.clone()], 1, Kind::Int);
    root.together.insert(long.clone());
    let names: Vec<String> = resolve(&root, &[]).into_iter().map(|field| field.name).collect();
    assert!(names.contains(&long) && names.iter().all(|name| name.len() == MAX_NAME_BYTES));
    let suffixed = names.into_iter().find(|name| *name != long).unwrap();
    let fields = resolve(&root, std::slice::from_ref(&suffixed));
    assert_eq!(fields.len(), 2);
    assert!(fields.iter().all(|field| field.name != suffixed));
}

#[test]
fn an_unknown_kind_or_field_of_a_stored_observation_is_refused() {
    assert!(serde_json::from_str::<Observation>(r#"{"tally":{"integer":1,"complex":2}}"#).is_err());
    assert!(serde_json::from_str::<Observation>(r#"{"tally":{},"wheel":1}"#).is_err());
    assert_eq!(serde_json::from_str::<Observation>("{}").unwrap(), Observation::default());
    assert!(Kind::ALL.into_iter().all(|kind| Kind::from_name(kind.name()) == Some(kind)));
}
