//! How SQL reads the files of a table: no leaves but those that are wanted, in files that have all, some or none of them.

use serde_json::json;

use super::support::Roots;

/// The counter `name` of the scans of a statement, summed.
fn counted(roots: &Roots, statement: &str, name: &str) -> u64 {
    let plan = roots.sql(&format!("explain analyze {statement}"));
    let plan = plan[0]["plan"].as_str().unwrap();
    let before = format!("{name}=");
    let values = plan.split(&before).skip(1).map(|text| text.split([',', ']']).next().unwrap());
    let number = |text: &str| match text.split_once(' ') {
        None => text.parse::<f64>().unwrap(),
        Some((number, unit)) => {
            let factor = if unit.starts_with('K') { 1e3 } else { 1e6 };
            number.parse::<f64>().unwrap() * factor
        }
    };
    values.map(number).sum::<f64>() as u64
}

#[test]
fn of_a_struct_the_leaves_that_a_statement_wants_are_read_and_no_others() {
    let roots = Roots::new();
    let record = |id: usize| {
        let text: String = (0..12).map(|n| format!("{:x}", hard_to_compress(id * 12 + n))).collect();
        json!({"id": id, "o": {"x": id % 10, "text": text, "p": {"y": id, "text": text}}, "l": [{"a": text}]})
    };
    roots.put_lines("s/1.json", &(0..2000).map(record).collect::<Vec<_>>());
    roots.compact_one(&["--partition-by", "none"]);
    let bytes = |statement: &str| counted(&roots, statement, "bytes_scanned");
    let all = bytes("select * from lake.s");
    for narrow in [
        "select sum(o.x) as n from lake.s",
        "select o.x as x, avg(o.p.y) as y from lake.s group by o.x order by x",
        "select count(*) as n from lake.s where o.p.y < 100",
        "select a.o.x as x, count(*) as n from lake.s a join lake.s b on a.o.x = b.id group by 1 order by 1",
        "select id from lake.s where o.x = 3 and o.p.y > 1990",
    ] {
        assert!(bytes(narrow) < all / 5, "{narrow}: {} of {all}", bytes(narrow));
        assert_eq!(roots.sql(narrow), roots.sql(&narrow.replace("lake.s", "raw.s")), "{narrow}");
    }
    assert!(bytes("select o.text as t from lake.s") > all / 5);
    // A filter on a leaf is one of the reader, which then leaves the other columns of those rows alone.
    let filtered = "select id, o.text as t from lake.s where o.p.y = 1234";
    assert_eq!(counted(&roots, filtered, "pushdown_rows_matched"), 1);
    assert_eq!(roots.sql(filtered)[0]["id"], json!(1234));
}

fn hard_to_compress(id: usize) -> u128 {
    let mut bits = id as u128 + 1;
    for _ in 0..5 {
        bits = bits.wrapping_mul(0x2360_ED05_1FC6_5DA4_4385_DF64_9FCC_F645) ^ (bits >> 61);
    }
    bits
}

#[test]
fn what_a_file_lacks_of_a_struct_is_null_however_it_is_asked_for() {
    let roots = Roots::new();
    let objects = [
        json!({"id": 1, "o": {"a": 1}}),
        json!({"id": 2, "o": {"b": "x"}, "l": [{"a": 1}, {"b": 2}]}),
        json!({"id": 3, "p": 1}),
        json!({"id": 4, "o": null}),
        json!({"id": 5, "o": {"a": 5, "c": {"d": 1, "e": [1, 2]}}}),
        json!({"id": 6, "o": {"c": {"f": "y"}}, "o.a": 7}),
        json!({"id": 7, "o": {"a": 1.5}}),
    ];
    for (index, object) in objects.iter().enumerate() {
        roots.put_lines(&format!("s/{index}.json"), std::slice::from_ref(object));
        roots.compact_one(&["--partition-by", "none"]);
    }
    let ids = |condition: &str| {
        let rows = roots.sql(&format!("select id from lake.s where {condition} order by id"));
        rows.iter().map(|row| row["id"].as_u64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(ids("o.a is null"), [2, 3, 4, 6]);
    assert_eq!(ids("o is null"), [3, 4]);
    assert_eq!(ids("o.b = 'x'"), [2]);
    assert_eq!(ids("o.c.d is null and o.a > 0"), [1, 7]);
    assert_eq!(ids("o.c.f = 'y' or o.a >= 1.5"), [5, 6, 7]);
    // What the reader of files does not evaluate.
    assert_eq!(ids("cardinality(o.c.e) = 2"), [5]);
    assert_eq!(ids("o.c.e[2] = 2 and p is null"), [5]);
    assert_eq!(ids("o.c is not null and cardinality(l) is null"), [5, 6]);
    for statement in [
        "select id, o.a as a, o.b as b, o.c.d as d, o.c.f as f from $.s order by id",
        "select id, o from $.s order by id",
        "select id, o.c as c, o.c.e as e from $.s where o.c is not null order by id",
        "select o.b as b, count(*) as n, sum(o.a) as a, max(o.c.d) as d from $.s group by 1 order by 1",
        "select x.id, y.o.a as a from $.s x left join $.s y on x.o.a = y.id order by 1, 2",
        "select id, o.c.d as d from (select * from $.s) t where o.c.d = 1",
        "select id, (select max(o.a) from $.s) as m from $.s where exists (select 1 from $.s t where t.o.b = 'x') order by id",
        "select count(*) as n from $.s",
        "select t.id, u.a as a from $.s t cross join unnest(t.l) as u (a, b) order by 1, 2",
    ] {
        let [lake, raw] = ["lake", "raw"].map(|schema| roots.sql(&statement.replace('$', schema)));
        assert_eq!(lake, raw, "{statement}");
    }
}

#[test]
fn rows_are_counted_without_reading_a_file_and_files_are_read_by_all_threads() {
    let roots = Roots::new();
    for object in 0..4 {
        let record = |n: usize| json!({"id": object * 100 + n, "kind": format!("a b%/{object}")});
        roots.put_lines(&format!("s/{object}.json"), &(0..100).map(record).collect::<Vec<_>>());
    }
    roots.compact_one(&["--partition-by", "kind"]);
    assert_eq!(roots.sql("select count(*) as n from lake.s")[0]["n"], json!(400));
    assert_eq!(counted(&roots, "select count(*) from lake.s", "bytes_scanned"), 0);
    let filtered = "select count(*) as n from lake.s where kind = 'a b%/2' and id > 205";
    assert_eq!(roots.sql(filtered)[0]["n"], json!(94));
    assert_eq!(counted(&roots, filtered, "log_files_matched"), 1);
    let plan = roots.sql("explain select sum(id) from lake.s");
    assert!(plan.iter().any(|row| row["plan"].as_str().unwrap().contains("file_groups={2 groups")), "{plan:?}");
}

#[test]
fn a_file_that_was_cut_off_is_named_and_no_reader_panics() {
    let roots = Roots::new();
    roots.put_lines("s/1.json", &(0..500).map(|id| json!({"id": id, "text": format!("{id:x}")})).collect::<Vec<_>>());
    roots.compact_one(&["--partition-by", "none"]);
    let path = roots.files("s").remove(0).path;
    let file = roots.lake.join("s").join(&path);
    let bytes = std::fs::read(&file).unwrap();
    for left in [4, 10, 100, bytes.len() / 2, bytes.len() - 100, bytes.len() - 8, bytes.len() - 1] {
        std::fs::write(&file, &bytes[..left]).unwrap();
        let message = roots.run_here(&["sql", "select sum(id), max(text) from lake.s"]).failed(1);
        assert!(message.contains(&path) && !message.contains("panicked"), "{left} bytes: {message}");
    }
}
