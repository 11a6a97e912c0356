"""What is compacted, and what every reader must find: for each kind of promotion the raw text of each run, the columns
after the first and after the last one, and the value that each record must have in each of them.

The expectations are stated here by hand, under the table of types in the design; nothing in them comes from a reader.
Each record also gets an `id` and a time `at`, so that each kind can lie in one folder and be spread over days.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import date, datetime, timezone
from decimal import Decimal

EACH_WAY = ("none", "day(at)")


@dataclass(eq=False)
class Case:
    """One kind of promotion. A record is the text of its members and the values they become."""

    kind: str
    before: dict
    after: dict
    runs: list
    by: tuple = EACH_WAY
    partitions: dict = field(default_factory=dict)
    bare: bool = False
    settings: str = ""  # Those of the source, as in siltstone.toml.

    def tables(self):
        return [Table(self, by) for by in self.by]


class Table:
    """A case under one partitioning: one source."""

    def __init__(self, case, by):
        self.case, self.by = case, by
        slug = re.sub(r"[^a-z0-9]+", "_", case.kind.lower()).strip("_")
        self.source = f"{slug}.{re.sub(r'[^a-z0-9]+', '_', by).strip('_')}"
        own = {} if case.bare else {"id": "bigint", "at": "timestamp"}
        self.before = None if case.before is None else own | case.before
        self.types = own | case.after | case.partitions | ({"at_day": "date"} if by == "day(at)" else {})
        self.raw, self.rows, number = [], [], 0
        for records in case.runs:
            texts = []
            for members, values in records:
                number += 1
                row = dict.fromkeys(self.types) | values
                if not case.bare:
                    at = [
                        datetime(2025, 3, 2, 22, 30, tzinfo=timezone.utc),
                        datetime(2025, 3, 1, 10, tzinfo=timezone.utc),
                    ]
                    row |= {"id": number, "at": at[number % 2]}
                    if by == "day(at)":
                        row["at_day"] = row["at"].date()
                    text = f'"id":{number},"at":"{row["at"]:%Y-%m-%dT%H:%M:%SZ}"'
                    members = f"{text},{members}" if members else text
                assert row.keys() == self.types.keys(), (case.kind, row.keys() ^ self.types.keys())
                texts.append("{" + members + "}\n")
                self.rows.append(row)
            self.raw.append("".join(texts))


CASES = []


def case(kind, before, after, *runs, **options):
    CASES.append(Case(kind, before, after, list(runs), **options))


def promoted(kind, before, after, *runs, **options):
    """A column `v`: each run is a list of (raw text or None for an absent key, value)."""
    records = [[("" if raw is None else f'"v":{raw}', {"v": value}) for raw, value in run] for run in runs]
    case(kind, {"v": before} if before else {}, {"v": after}, *records, **options)


def utc(*parts):
    return datetime(*parts, tzinfo=timezone.utc)


# Columns that come late.

EVERY_TYPE = {
    "b": "boolean",
    "i": "bigint",
    "n": "decimal(38,0)",
    "d": "double",
    "t": "timestamp",
    "y": "date",
    "s": "string",
    "o": "struct<a:bigint,p:struct<q:string>>",
    "l": "array<bigint>",
    "ol": "array<struct<a:bigint>>",
}
EVERY_VALUE = (
    '"b":true,"i":-5,"n":12345678901234567890,"d":0.5,"t":"2025-01-02T03:04:05.000006+01:00","y":"2025-01-02","s":"x",'
    '"o":{"a":1,"p":{"q":"y"}},"l":[1,null,2],"ol":[{"a":1},null]'
)
EVERY = {
    "b": True,
    "i": -5,
    "n": Decimal(12345678901234567890),
    "d": 0.5,
    "t": utc(2025, 1, 2, 2, 4, 5, 6),
    "y": date(2025, 1, 2),
    "s": "x",
    "o": {"a": 1, "p": {"q": "y"}},
    "l": [1, None, 2],
    "ol": [{"a": 1}, None],
}
NOTHING = dict.fromkeys(EVERY_TYPE)

case(
    "new columns of every type",
    {},
    EVERY_TYPE,
    [("", NOTHING), ("", NOTHING), ("", NOTHING)],
    [(EVERY_VALUE, EVERY), ("", NOTHING), (EVERY_VALUE, EVERY)],
)
case(
    "columns that files lack in turn",
    {"a": "bigint", "b": "string"},
    {"a": "bigint", "b": "string", "c": "double", "d": "struct<x:bigint,y:bigint>"},
    [('"a":1', {"a": 1}), ('"b":"x"', {"b": "x"})],
    [
        ('"c":0.5', {"c": 0.5}),
        ('"d":{"x":1}', {"d": {"x": 1, "y": None}}),
        ('"a":2', {"a": 2}),
        ('"d":{"y":2}', {"d": {"x": None, "y": 2}}),
    ],
)
promoted(
    "new field in a struct",
    "struct<a:bigint>",
    "struct<a:bigint,b:string,c:struct<d:array<bigint>>>",
    [
        ('{"a":1}', {"a": 1, "b": None, "c": None}),
        ("{}", {"a": None, "b": None, "c": None}),
        (None, None),
        ("null", None),
    ],
    [
        ('{"a":2,"b":"x","c":{"d":[1,2]}}', {"a": 2, "b": "x", "c": {"d": [1, 2]}}),
        ('{"b":"y"}', {"a": None, "b": "y", "c": None}),
    ],
)
promoted(
    "new field in a struct in a list",
    "array<struct<a:bigint>>",
    "array<struct<a:bigint,b:string>>",
    [
        ('[{"a":1},{"a":2}]', [{"a": 1, "b": None}, {"a": 2, "b": None}]),
        ("[]", []),
        ("[null,{}]", [None, {"a": None, "b": None}]),
        (None, None),
    ],
    [('[{"a":3,"b":"x"},{"b":"y"}]', [{"a": 3, "b": "x"}, {"a": None, "b": "y"}]), ("[]", [])],
)
promoted(
    "new field in a struct in a list of lists",
    "array<array<struct<a:bigint>>>",
    "array<array<struct<a:bigint,b:array<struct<c:boolean>>>>>",
    [('[[{"a":1}],[],null]', [[{"a": 1, "b": None}], [], None]), ("[]", [])],
    [('[[{"a":2,"b":[{"c":true}]}]]', [[{"a": 2, "b": [{"c": True}]}]]), ("[[]]", [[]])],
)
promoted(
    "structs of which files hold different fields",
    "struct<a:bigint>",
    "struct<a:bigint,b:bigint,c:struct<d:bigint,e:bigint>>",
    [('{"a":1}', {"a": 1, "b": None, "c": None}), ('{"a":2}', {"a": 2, "b": None, "c": None})],
    [('{"b":3}', {"a": None, "b": 3, "c": None}), ('{"b":4}', {"a": None, "b": 4, "c": None})],
    [
        ('{"c":{"d":5}}', {"a": None, "b": None, "c": {"d": 5, "e": None}}),
        ('{"c":{"d":6}}', {"a": None, "b": None, "c": {"d": 6, "e": None}}),
    ],
    [
        ('{"c":{"e":7}}', {"a": None, "b": None, "c": {"d": None, "e": 7}}),
        ('{"c":{}}', {"a": None, "b": None, "c": {"d": None, "e": None}}),
    ],
)

# What had no type yet.

promoted(
    "null → string", None, "string", [("null", None), ("null", None), (None, None)], [('"x"', "x"), ("null", None)]
)
promoted(
    "null → decimal",
    None,
    "decimal(38,0)",
    [("null", None), ("null", None)],
    [("18446744073709551616", Decimal(2**64)), ("null", None)],
)
promoted(
    "null → timestamp",
    None,
    "timestamp",
    [("null", None), ("null", None)],
    [('"2025-01-02T03:04:05Z"', utc(2025, 1, 2, 3, 4, 5)), ("null", None)],
)
promoted(
    "null → struct",
    None,
    "struct<a:bigint>",
    [("null", None), ("null", None)],
    [('{"a":1}', {"a": 1}), ("null", None), ("{}", {"a": None})],
)
promoted(
    "{} → struct",
    None,
    "struct<a:bigint>",
    [("{}", None), ("{}", None)],
    [('{"a":1}', {"a": 1}), ("{}", {"a": None}), ('{"a":null}', {"a": None})],
)
promoted("[] → list", None, "array<bigint>", [("[]", None), ("[]", None)], [("[1]", [1]), ("[]", [])])
promoted(
    "list of nulls → list of bigint",
    "array<string>",
    "array<bigint>",
    [("[null,null]", [None, None]), ("[]", []), ("[null]", [None])],
    [("[1,null]", [1, None]), ("[2]", [2])],
)
promoted(
    "list of nulls → list of structs",
    "array<string>",
    "array<struct<a:string>>",
    [("[null]", [None]), ("[]", [])],
    [('[{"a":"x"},null]', [{"a": "x"}, None]), ("[]", [])],
)
promoted(
    "list of nulls → list of lists",
    "array<string>",
    "array<array<bigint>>",
    [("[null]", [None]), ("[null,null]", [None, None])],
    [("[[1],null,[]]", [[1], None, []]), ("[]", [])],
)
promoted(
    "null in a struct → typed",
    "struct<a:bigint>",
    "struct<a:bigint,b:double>",
    [('{"a":1,"b":null}', {"a": 1, "b": None}), ('{"b":null}', {"a": None, "b": None})],
    [('{"a":2,"b":0.5}', {"a": 2, "b": 0.5}), ('{"b":1.5}', {"a": None, "b": 1.5})],
)

# Scalars. What an earlier run stored under a narrower type comes back with its text as it stood: the raw objects are there.

promoted(
    "int → wide int",
    "bigint",
    "bigint",
    [("1", 1), ("-9007199254740992", -(2**53)), (None, None)],
    [("9007199254740993", 2**53 + 1), ("9223372036854775807", 2**63 - 1), ("-9223372036854775808", -(2**63))],
)
promoted(
    "int → decimal(38,0)",
    "bigint",
    "decimal(38,0)",
    [
        ("7", Decimal(7)),
        ("-9223372036854775808", Decimal(-(2**63))),
        ("null", None),
        ("9007199254740993", Decimal(2**53 + 1)),
    ],
    [
        ("9223372036854775808", Decimal(2**63)),
        ("-" + "9" * 38, Decimal(-(10**38) + 1)),
        ("9" * 38, Decimal(10**38 - 1)),
        ("0", Decimal(0)),
    ],
)
promoted(
    "int → double",
    "bigint",
    "double",
    [("12", 12.0), ("-9007199254740992", -(2.0**53)), ("null", None)],
    [("0.1", 0.1), ("1e300", 1e300), ("-0.0", -0.0), ("5e-324", 5e-324), ("3", 3.0)],
)
promoted(
    "int → string",
    "bigint",
    "string",
    [("12", "12"), ("-9223372036854775808", "-9223372036854775808"), ("0", "0"), ("null", None)],
    [('"x"', "x"), ('""', ""), ("13", "13"), ('"012"', "012")],
)
promoted(
    "int → string (39 digits)",
    "bigint",
    "string",
    [("12", "12"), ("-3", "-3")],
    [("1" + "0" * 38, "1" + "0" * 38), ("-" + "9" * 60, "-" + "9" * 60)],
)
promoted(
    "decimal → string",
    "decimal(38,0)",
    "string",
    [("9" * 38, "9" * 38), ("-9223372036854775809", "-9223372036854775809"), ("5", "5")],
    [('"x"', "x"), ("6", "6")],
)
promoted(
    "decimal + double → string",
    "decimal(38,0)",
    "string",
    [("18446744073709551616", "18446744073709551616"), ("5", "5")],
    [("0.10", "0.10"), ("1E2", "1E2")],
)
promoted(
    "wide int + double → string",
    "bigint",
    "string",
    [("9007199254740993", "9007199254740993"), ("1", "1")],
    [("0.10", "0.10"), ("-9223372036854775808", "-9223372036854775808")],
)
promoted(
    "double → string (huge)",
    "double",
    "string",
    [("0.25", "0.25"), ("1.10", "1.10"), ("1e3", "1e3"), ("-0.0", "-0.0")],
    [("1e400", "1e400"), ("1.10", "1.10")],
)
promoted(
    "double → string (wide int)",
    "double",
    "string",
    [("0.5", "0.5"), ("3", "3")],
    [("9007199254740993", "9007199254740993"), ("4", "4")],
)
promoted(
    "bool → string",
    "boolean",
    "string",
    [("true", "true"), ("false", "false"), ("null", None)],
    [('"x"', "x"), ("true", "true")],
)
promoted(
    "bool + int → string", "boolean", "string", [("true", "true"), ("false", "false")], [("1", "1"), ("false", "false")]
)
promoted(
    "date → string",
    "date",
    "string",
    [('"2025-01-02"', "2025-01-02"), ('"0001-01-01"', "0001-01-01"), ('"9999-12-31"', "9999-12-31")],
    [('"soon"', "soon"), ('"2025-01-03"', "2025-01-03"), ('""', "")],
)
promoted(
    "timestamp → string",
    "timestamp",
    "string",
    [
        ('"2025-01-02T03:04:05.678Z"', "2025-01-02T03:04:05.678Z"),
        ('"2025-01-02T03:04:05+01:00"', "2025-01-02T03:04:05+01:00"),
    ],
    [('"soon"', "soon"), ('"2025-01-02T03:04:05+01:00"', "2025-01-02T03:04:05+01:00")],
)
promoted(
    "timestamp without offset → string",
    "timestamp",
    "string",
    [('"2025-01-02T03:04:05"', "2025-01-02T03:04:05"), ('"2025-01-02T03:04:05.000001"', "2025-01-02T03:04:05.000001")],
    [('"soon"', "soon"), ("17", "17")],
)
promoted(
    "timestamp, offsets mixed (stays)",
    "timestamp",
    "timestamp",
    [
        ('"2025-01-02T03:04:05"', utc(2025, 1, 2, 3, 4, 5)),
        ('"1969-12-31T23:59:59.999999"', utc(1969, 12, 31, 23, 59, 59, 999999)),
    ],
    [('"2025-01-02T03:04:05.678901+05:30"', utc(2025, 1, 1, 21, 34, 5, 678901)), ("null", None)],
)
promoted(
    "timestamps from year 1 to 9999",
    None,
    "timestamp",
    [("null", None), (None, None)],
    [
        ('"0001-01-01T00:00:00Z"', utc(1, 1, 1)),
        ('"9999-12-31T23:59:59.999999Z"', utc(9999, 12, 31, 23, 59, 59, 999999)),
        ('"1582-10-10T00:00:00Z"', utc(1582, 10, 10)),
    ],
)
promoted(
    "date + timestamp → string",
    "date",
    "string",
    [('"2025-01-02"', "2025-01-02"), ('"2025-01-03"', "2025-01-03")],
    [('"2025-01-02T00:00:00Z"', "2025-01-02T00:00:00Z"), ('"2025-01-04"', "2025-01-04")],
)
promoted(
    "timestamp + date → string",
    "timestamp",
    "string",
    [('"2025-01-02T00:00:00Z"', "2025-01-02T00:00:00Z"), ("null", None)],
    [('"2025-01-04"', "2025-01-04"), ('"2025-01-02T00:00:00.0Z"', "2025-01-02T00:00:00.0Z")],
)
promoted(
    "strings: empty, odd and long",
    "string",
    "string",
    [('""', ""), ('" "', " "), ('"\\u0000a"', "\0a"), ('"null"', "null"), ("null", None)],
    [(json.dumps("ü€😀\u200f\n\t\"\\'"), "ü€😀\u200f\n\t\"\\'"), (json.dumps("x" * 5000), "x" * 5000), ('""', "")],
)
promoted(
    "strings of the highest character",
    None,
    "string",
    [("null", None), (None, None)],
    [(json.dumps("\U0010ffff" * 40), "\U0010ffff" * 40), ('"x"', "x")],
)
promoted(
    "promoted again: int → double → string → JSON text",
    "bigint",
    "string",
    [("7", "7"), ("null", None)],
    [("0.5", "0.5"), ("8", "8")],
    [('"x"', '"x"'), ("9", "9")],
    [('{"a":1}', '{"a":1}'), ("10", "10")],
)

# JSON text.

case(
    "scalar → JSON text",
    {"b": "boolean", "i": "bigint", "n": "decimal(38,0)", "d": "double", "s": "string", "y": "date", "t": "timestamp"},
    dict.fromkeys(("b", "i", "n", "d", "s", "y", "t"), "string"),
    [
        (
            '"b":true,"i":-5,"n":18446744073709551616,"d":0.5,"s":"a\\"b","y":"2025-01-02","t":"2025-01-02T03:04:05Z"',
            {
                "b": "true",
                "i": "-5",
                "n": "18446744073709551616",
                "d": "0.5",
                "s": '"a\\"b"',
                "y": '"2025-01-02"',
                "t": '"2025-01-02T03:04:05Z"',
            },
        ),
        ('"b":null,"s":""', {"b": None, "s": '""'}),
    ],
    [
        (
            '"b":{"x": 1},"i":[1, 2],"n":{"x":{}},"d":[[]],"s":{"X y": null},"y":["2025-01-02"],"t":{"x":1.10}',
            {
                "b": '{"x":1}',
                "i": "[1,2]",
                "n": '{"x":{}}',
                "d": "[[]]",
                "s": '{"X y":null}',
                "y": '["2025-01-02"]',
                "t": '{"x":1.10}',
            },
        ),
        (
            '"b":false,"i":6,"n":7,"d":1.10,"s":"c","y":"x","t":null',
            {"b": "false", "i": "6", "n": "7", "d": "1.10", "s": '"c"', "y": '"x"', "t": None},
        ),
    ],
)
promoted(
    "object → JSON text (a scalar comes)",
    "struct<a:bigint,b_c:struct<d:string>>",
    "string",
    [('{"a":1,"B-c":{"d":"x"}}', '{"a":1,"B-c":{"d":"x"}}'), ('{"a":2}', '{"a":2}'), ("{}", "{}"), ("null", None)],
    [("3", "3"), ('{ "a" : 1.10 , "z" : [ ] }', '{"a":1.10,"z":[]}'), ('"x"', '"x"')],
)
promoted(
    "object → JSON text (an array comes)",
    "struct<a:bigint>",
    "string",
    [('{"a":1}', '{"a":1}'), ('{"a":2}', '{"a":2}')],
    [('[{"a":1}]', '[{"a":1}]'), ('{"a":3}', '{"a":3}')],
)
promoted(
    "array → JSON text (a scalar comes)",
    "array<bigint>",
    "string",
    [("[1, 2,null]", "[1,2,null]"), ("[]", "[]"), ("null", None)],
    [('"x"', '"x"'), ("[3.50]", "[3.50]"), ("true", "true")],
)
promoted(
    "array → JSON text (an object comes)",
    "array<struct<a:string>>",
    "string",
    [('[{"a":"x"},{}]', '[{"a":"x"},{}]'), ("[]", "[]")],
    [('{"a":"y"}', '{"a":"y"}'), ("[]", "[]")],
)

# Below other columns.

promoted(
    "list element: int → string",
    "array<bigint>",
    "array<string>",
    [("[1,null,2]", ["1", None, "2"]), ("[]", []), (None, None)],
    [('["x",3]', ["x", "3"]), ("[4]", ["4"])],
)
promoted(
    "list element: int → double",
    "array<bigint>",
    "array<double>",
    [("[1,2]", [1.0, 2.0]), ("[]", [])],
    [("[0.5,3]", [0.5, 3.0]), ("[null]", [None])],
)
promoted(
    "list element: object → JSON text",
    "array<struct<a:bigint>>",
    "array<string>",
    [('[{"a":1},null]', ['{"a":1}', None]), ("[]", [])],
    [('["x",{"a":2}]', ['"x"', '{"a":2}']), ("[[]]", ["[]"])],
)
promoted(
    "element of a list of lists: int → decimal",
    "array<array<bigint>>",
    "array<array<decimal(38,0)>>",
    [("[[1],[],null]", [[Decimal(1)], [], None]), ("[]", [])],
    [("[[18446744073709551616,2]]", [[Decimal(2**64), Decimal(2)]]), ("[[3]]", [[Decimal(3)]])],
)
promoted(
    "struct field: int → string",
    "struct<a:bigint,b:string>",
    "struct<a:string,b:string>",
    [
        ('{"a":1,"b":"x"}', {"a": "1", "b": "x"}),
        ('{"b":"y"}', {"a": None, "b": "y"}),
        ("{}", {"a": None, "b": None}),
        ("null", None),
    ],
    [('{"a":"z"}', {"a": "z", "b": None}), ('{"a":2}', {"a": "2", "b": None})],
)
promoted(
    "nested struct field: int → double",
    "struct<p:struct<q:struct<r:bigint>>>",
    "struct<p:struct<q:struct<r:double>>>",
    [
        ('{"p":{"q":{"r":1}}}', {"p": {"q": {"r": 1.0}}}),
        ('{"p":{"q":{}}}', {"p": {"q": {"r": None}}}),
        ('{"p":{}}', {"p": {"q": None}}),
    ],
    [('{"p":{"q":{"r":0.5}}}', {"p": {"q": {"r": 0.5}}}), ('{"p":null}', {"p": None})],
)
promoted(
    "struct field in a list: int → string",
    "array<struct<a:bigint,b:boolean>>",
    "array<struct<a:string,b:boolean>>",
    [
        ('[{"a":1,"b":true},{"b":false}]', [{"a": "1", "b": True}, {"a": None, "b": False}]),
        ("[]", []),
        ("[null]", [None]),
    ],
    [('[{"a":"x"},{"a":2}]', [{"a": "x", "b": None}, {"a": "2", "b": None}]), ("[{}]", [{"a": None, "b": None}])],
)
promoted(
    "struct field in a list of lists: date → string",
    "array<array<struct<a:date>>>",
    "array<array<struct<a:string>>>",
    [('[[{"a":"2025-01-02"}],[]]', [[{"a": "2025-01-02"}], []]), ("[[]]", [[]])],
    [('[[{"a":"x"}]]', [[{"a": "x"}]]), ("[]", [])],
)
promoted(
    "struct field in a list: object → JSON text",
    "array<struct<a:struct<b:bigint>>>",
    "array<struct<a:string>>",
    [('[{"a":{"b":1}},{"a":null}]', [{"a": '{"b":1}'}, {"a": None}]), ("[]", [])],
    [('[{"a":7}]', [{"a": "7"}]), ('[{"a":{"b":2}}]', [{"a": '{"b":2}'}])],
)
promoted(
    "promoted and new fields at once",
    "struct<a:bigint,l:array<struct<x:bigint>>>",
    "struct<a:string,c:boolean,l:array<struct<x:double,y:date>>>",
    [
        ('{"a":1,"l":[{"x":1}]}', {"a": "1", "c": None, "l": [{"x": 1.0, "y": None}]}),
        ('{"l":[]}', {"a": None, "c": None, "l": []}),
    ],
    [
        (
            '{"a":"x","c":true,"l":[{"x":0.5,"y":"2025-01-02"}]}',
            {"a": "x", "c": True, "l": [{"x": 0.5, "y": date(2025, 1, 2)}]},
        ),
        ('{"c":false}', {"a": None, "c": False, "l": None}),
    ],
)

# Dictionaries: an object with more than 512 keys over all runs. MANY keys make one.

MANY = 640


def each_key(start, raw, value):
    """Records with one key each, as `{"k7":...}`."""
    keys = range(start, start + MANY)
    return [('{"k%d":%s}' % (key, raw(key)), {f"k{key}": value(key)}) for key in keys]


def few_keys(*fields):
    return "struct<" + ",".join(f"{name}:{kind}" for name, kind in fields) + ">"


promoted(
    "struct → map",
    "struct<k1:bigint,k_2:bigint,other:bigint>",
    "map<string,bigint>",
    [
        ('{"k1":1,"K 2":2}', {"k1": 1, "K 2": 2}),
        ('{"k1":3,"other":null}', {"k1": 3, "other": None}),
        ('{"other":4}', {"other": 4}),
        ("{}", {}),
        ("null", None),
    ],
    [*each_key(100, str, int), ('{"k1":5,"new":null}', {"k1": 5, "new": None}), ("{}", {}), ("null", None)],
)
promoted(
    "struct → map, values promoted at once",
    "struct<a:bigint,b:string>",
    "map<string,string>",
    [('{"a":1,"b":"x"}', {"a": "1", "b": "x"}), ('{"b":"y"}', {"b": "y"})],
    [*each_key(100, lambda key: f"{key}.50", lambda key: f"{key}.50"), ('{"a":true}', {"a": "true"})],
)
promoted(
    "struct of structs → map of structs",
    "struct<a:struct<x:bigint>,b:struct<y:string>>",
    "map<string,struct<x:double,y:string,z:array<bigint>>>",
    [
        ('{"a":{"x":1},"b":{"y":"q"}}', {"a": {"x": 1.0, "y": None, "z": None}, "b": {"x": None, "y": "q", "z": None}}),
        ("{}", {}),
    ],
    [
        *each_key(100, lambda key: '{"x":0.5,"z":[%d]}' % key, lambda key: {"x": 0.5, "y": None, "z": [key]}),
        ("null", None),
    ],
)
promoted(
    "struct in a list → map in a list",
    "array<struct<a:bigint>>",
    "array<map<string,bigint>>",
    [('[{"a":1},{}]', [{"a": 1}, {}]), ("[]", []), ("[null]", [None])],
    [(f"[{raw}]", [value]) for raw, value in each_key(100, str, int)],
)
promoted(
    "struct in a struct → map in a struct",
    "struct<m:struct<a:bigint>,n:bigint>",
    "struct<m:map<string,bigint>,n:bigint>",
    [('{"m":{"a":1},"n":1}', {"m": {"a": 1}, "n": 1}), ('{"n":2}', {"m": None, "n": 2})],
    [('{"m":%s}' % raw, {"m": value, "n": None}) for raw, value in each_key(100, str, int)],
)
promoted(
    "map value: int → double",
    "map<string,bigint>",
    "map<string,double>",
    [*each_key(100, str, float), ("{}", {}), ("null", None)],
    [('{"k1":0.5,"k200":3}', {"k1": 0.5, "k200": 3.0}), ("{}", {})],
)
promoted(
    "map value: int → string",
    "map<string,bigint>",
    "map<string,string>",
    each_key(100, str, str),
    [('{"":"x","k 1":null}', {"": "x", "k 1": None}), ('{"ü":1}', {"ü": "1"})],
)
promoted(
    "map value: nulls → bigint",
    "map<string,string>",
    "map<string,bigint>",
    each_key(100, lambda _: "null", lambda _: None),
    [('{"a":1,"b":null}', {"a": 1, "b": None}), ("{}", {})],
)
promoted(
    "map value: object → JSON text",
    "map<string,struct<a:bigint>>",
    "map<string,string>",
    each_key(100, lambda key: '{"a":%d}' % key, lambda key: '{"a":%d}' % key),
    [('{"k1":"x"}', {"k1": '"x"'}), ('{"k2":{"a":1}}', {"k2": '{"a":1}'})],
)
promoted(
    "map value: struct gains a field, another is promoted",
    "map<string,struct<a:bigint>>",
    "map<string,struct<a:string,b:boolean>>",
    each_key(100, lambda key: '{"a":%d}' % key, lambda key: {"a": str(key), "b": None}),
    [
        ('{"k1":{"a":"x","b":true},"k2":null}', {"k1": {"a": "x", "b": True}, "k2": None}),
        ('{"k1":{}}', {"k1": {"a": None, "b": None}}),
    ],
)
promoted(
    "map value: struct gains a field",
    "map<string,struct<a:bigint>>",
    "map<string,struct<a:bigint,b:boolean>>",
    each_key(100, lambda key: '{"a":%d}' % key, lambda key: {"a": key, "b": None}),
    [
        ('{"k1":{"a":1,"b":true},"k2":null}', {"k1": {"a": 1, "b": True}, "k2": None}),
        ('{"k1":{"b":false}}', {"k1": {"a": None, "b": False}}),
    ],
)
promoted(
    "map → JSON text",
    "map<string,bigint>",
    "string",
    [(raw, raw) for raw, _ in each_key(100, str, int)],
    [("7", "7"), ('{"k1":1}', '{"k1":1}')],
)

# Names.


def suffixed(name, key):
    """The column of a key that cannot share the column `name`: 64-bit FNV-1a of the key, folded to 32 bits."""
    value = 0xCBF29CE484222325
    for byte in key.encode():
        value = (value ^ byte) * 0x100000001B3 % 2**64
    return f"{name}_{(value ^ value >> 32) % 2**32:08x}"


case(
    "keys that fold into one column",
    {"org": "bigint", "a_b": "string"},
    {"org": "bigint", "a_b": "string"},
    [('"Org":1,"a b":"x"', {"org": 1, "a_b": "x"}), ("", {})],
    [('"org":2,"a-b":"y"', {"org": 2, "a_b": "y"}), ('"ORG":3,"A.B":"z"', {"org": 3, "a_b": "z"})],
)
case(
    "keys that fold into one column and promote it",
    {"org": "bigint", "o": "struct<x:bigint>"},
    {"org": "string", "o": "struct<x:double>"},
    [('"Org":1,"o":{"X":1}', {"org": "1", "o": {"x": 1.0}}), ('"Org":2', {"org": "2"})],
    [('"org":"x","O":{"x":0.5}', {"org": "x", "o": {"x": 0.5}}), ('"ORG":3', {"org": "3"})],
)
case(
    "keys that part: one record has both",
    {"org": "bigint"},
    {"org": "bigint", suffixed("org", "org"): "string"},
    [('"Org":1', {"org": 1}), ('"Org":2', {"org": 2})],
    [('"Org":3,"org":"x"', {"org": 3, suffixed("org", "org"): "x"}), ('"org":"y"', {suffixed("org", "org"): "y"})],
)

RESERVED = (
    "select from where group order by table column values key value element list item map array struct row rows index "
    "user end null true false timestamp date time interval day year default primary with as in is not and or case when "
    "union all join on limit offset partition count path type schema metadata _ 0 1a"
).split()

case(
    "column names that are reserved words",
    dict.fromkeys(RESERVED[::2], "bigint"),
    dict.fromkeys(RESERVED, "string"),
    [
        (
            ",".join(f'"{name}":{i}' for i, name in enumerate(RESERVED[::2])),
            {name: str(i) for i, name in enumerate(RESERVED[::2])},
        ),
        ("", {}),
    ],
    [(",".join(f'"{name}":"{name}"' for name in RESERVED), {name: name for name in RESERVED}), ("", {})],
)
promoted(
    "field names that are reserved words",
    few_keys(*((name, "bigint") for name in RESERVED[::2])),
    few_keys(*((name, "string") for name in RESERVED)),
    [
        (
            "{" + ",".join(f'"{name}":{i}' for i, name in enumerate(RESERVED[::2])) + "}",
            dict.fromkeys(RESERVED) | {name: str(i) for i, name in enumerate(RESERVED[::2])},
        ),
        ("{}", dict.fromkeys(RESERVED)),
    ],
    [
        ("{" + ",".join(f'"{name}":"{name}"' for name in RESERVED) + "}", {name: name for name in RESERVED}),
        ("null", None),
    ],
)
case(
    "column names that readers use themselves",
    dict.fromkeys(("filename", "rowid", "_metadata", "__index_level_0__"), "bigint"),
    dict.fromkeys(("filename", "rowid", "_metadata", "__index_level_0__", "file_row_number", "_change_type"), "string"),
    [
        (
            '"filename":1,"rowid":2,"_metadata":3,"__index_level_0__":4',
            {"filename": "1", "rowid": "2", "_metadata": "3", "__index_level_0__": "4"},
        ),
        ("", {}),
    ],
    [
        (
            '"filename":"a","rowid":"b","_metadata":"c","__index_level_0__":"d",'
            '"file_row_number":"e","_change_type":"f"',
            {
                "filename": "a",
                "rowid": "b",
                "_metadata": "c",
                "__index_level_0__": "d",
                "file_row_number": "e",
                "_change_type": "f",
            },
        ),
        ("", {}),
    ],
)
case(
    "columns `__filename` and `__fragment_index`",
    {"__filename": "bigint"},
    {"__filename": "string", "__fragment_index": "string"},
    [('"__filename":1', {"__filename": "1"}), ("", {})],
    [('"__filename":"a","__fragment_index":"b"', {"__filename": "a", "__fragment_index": "b"}), ("", {})],
)
case(
    "structs that look like lists and maps of the file format",
    {
        "a": "array<struct<key:string,value:bigint>>",
        "b": "struct<list:array<struct<element:bigint>>>",
        "c": "struct<key_value:struct<key:string,value:bigint>>",
        "d": "array<struct<array:bigint>>",
        "e": "array<struct<d_tuple:bigint>>",
    },
    {
        "a": "array<struct<key:string,value:string>>",
        "b": "struct<list:array<struct<element:double>>>",
        "c": "struct<key_value:struct<key:string,value:double>>",
        "d": "array<struct<array:string>>",
        "e": "array<struct<d_tuple:string,f:bigint>>",
    },
    [
        (
            '"a":[{"key":"x","value":1}],"b":{"list":[{"element":1}]},"c":{"key_value":{"key":"x","value":1}},'
            '"d":[{"array":1}],"e":[{"d_tuple":1}]',
            {
                "a": [{"key": "x", "value": "1"}],
                "b": {"list": [{"element": 1.0}]},
                "c": {"key_value": {"key": "x", "value": 1.0}},
                "d": [{"array": "1"}],
                "e": [{"d_tuple": "1", "f": None}],
            },
        ),
        ("", {}),
    ],
    [
        (
            '"a":[{"key":"x","value":"y"}],"b":{"list":[{"element":0.5}]},"c":{"key_value":{"key":"x","value":0.5}},'
            '"d":[{"array":"z"}],"e":[{"d_tuple":"z","f":2}]',
            {
                "a": [{"key": "x", "value": "y"}],
                "b": {"list": [{"element": 0.5}]},
                "c": {"key_value": {"key": "x", "value": 0.5}},
                "d": [{"array": "z"}],
                "e": [{"d_tuple": "z", "f": 2}],
            },
        ),
        ("", {}),
    ],
)
LONG = "n" * 255
case(
    "column names of 255 bytes",
    {LONG: "bigint"},
    {LONG: "string", "x": "struct<" + LONG + ":bigint>"},
    [(f'"{LONG}":1', {LONG: "1"}), ("", {})],
    [(f'"{LONG}":"x","x":{{"{LONG}":2}}', {LONG: "x", "x": {LONG: 2}}), ("", {})],
)

# Rows and files without values.

case(
    "records {}: the first run has columns",
    {"a": "bigint"},
    {"a": "string"},
    [('"a":1', {"a": "1"}), ("", {})],
    [("", {}), ("", {})],
    [("", {}), ('"a":"x"', {"a": "x"})],
    by=("none",),
    bare=True,
)
case(
    "records {} beside others in partitions",
    {"a": "bigint"},
    {"a": "string"},
    [('"a":1', {"a": "1", "a_part": "1"}), ("", {})],
    [("", {}), ("", {})],
    [("", {}), ('"a":"x"', {"a": "x", "a_part": "x"})],
    by=("identity(a)",),
    bare=True,
    partitions={"a_part": "string"},
)
case(
    "records {}: the first run has no column",
    None,
    {"a": "bigint", "o": "struct<b:string>"},
    [("", {}), ("", {}), ("", {})],
    [('"a":1,"o":{"b":"x"}', {"a": 1, "o": {"b": "x"}}), ("", {})],
    by=("none",),
    bare=True,
)

# Deep columns. The record is the first level.


def deep(levels, raw, value):
    """`{"s":[{"s":[...]}]}` with a leaf `v` below so many objects and arrays."""
    for level in range(levels):
        raw, value = (f"[{raw}]", [value]) if level % 2 else ('{"s":%s}' % raw, {"s": value})
    return raw, value


def deep_type(levels, leaf):
    for level in range(levels):
        leaf = f"array<{leaf}>" if level % 2 else f"struct<s:{leaf}>"
    return leaf


promoted(
    "20 levels deep: int → string",
    deep_type(20, "bigint"),
    deep_type(20, "string"),
    [deep(20, "1", "1"), deep(20, "null", None), (None, None)],
    [deep(20, '"x"', "x"), deep(20, "2", "2")],
)


def structs(levels, raw, value):
    """`{"s":{"s":...}}` with a leaf below so many objects."""
    for _ in range(levels):
        raw, value = '{"s":%s}' % raw, {"s": value}
    return raw, value


promoted(
    "20 structs deep: new field",
    "struct<s:" * 20 + "struct<a:bigint>" + ">" * 20,
    "struct<s:" * 20 + "struct<a:bigint,b:string>" + ">" * 20,
    [structs(20, '{"a":1}', {"a": 1, "b": None}), (None, None)],
    [structs(20, '{"a":2,"b":"x"}', {"a": 2, "b": "x"}), structs(20, "{}", {"a": None, "b": None})],
)
promoted(
    "deeper than 24 levels: JSON text below",
    "struct<s:" * 23 + "string" + ">" * 23,
    "struct<s:" * 23 + "string" + ">" * 23,
    [structs(23, '{"a": [1.10]}', '{"a":[1.10]}'), (None, None)],
    [structs(23, "[2]", "[2]"), (None, None)],
)

# Partitions.

ODD = (
    "a b",
    " lead",
    "trail ",
    "a=b",
    "100%",
    "%20",
    "%2F",
    "ü€😀",
    "a/b",
    "a\\b",
    "..",
    ".",
    "a:b",
    "a?b#c&d+e",
    "*",
    "{x}",
    "[0]",
    "'q\"",
    "a,b;c",
    "tab\there",
    "line\nbreak",
    "null",
    "NULL",
    "None",
    "true",
    "1",
    "01",
    "1.50",
    "2025-01-02",
    "~",
    "_x",
    "\u200f",
)


def partitioned(kind, before, after, transform, partition, *runs):
    """A column `v` and the partition column made of it; each run is a list of (raw, value, partition value)."""
    name = "v_" + ("part" if transform == "identity" else transform)
    records = [
        [("" if raw is None else f'"v":{raw}', {"v": value, name: part}) for raw, value, part in run] for run in runs
    ]
    case(kind, {"v": before}, {"v": after}, *records, by=(f"{transform}(v)",), partitions={name: partition})


partitioned(
    "partition value null",
    "string",
    "string",
    "identity",
    "string",
    [('"a"', "a", "a"), ("null", None, None), (None, None, None)],
    [("null", None, None), ('"b"', "b", "b")],
)
partitioned(
    "partition values with odd characters",
    "string",
    "string",
    "identity",
    "string",
    [(json.dumps(value), value, value) for value in ODD],
    [(json.dumps(value), value, value) for value in ODD[::2]],
)
partitioned(
    "partition value empty (the null partition)",
    "string",
    "string",
    "identity",
    "string",
    [('""', "", None), ('"a"', "a", "a")],
    [('""', "", None), (None, None, None)],
)
partitioned(
    "partition value `__HIVE_DEFAULT_PARTITION__`",
    "string",
    "string",
    "identity",
    "string",
    [('"__HIVE_DEFAULT_PARTITION__"', "__HIVE_DEFAULT_PARTITION__", "__HIVE_DEFAULT_PARTITION__"), ('"a"', "a", "a")],
    [("null", None, None)],
)
partitioned(
    "partition values of 300 bytes",
    "string",
    "string",
    "identity",
    "string",
    [(json.dumps("x" * 300), "x" * 300, "x" * 300), (json.dumps("x" * 301), "x" * 301, "x" * 301)],
    [(json.dumps("ü" * 150), "ü" * 150, "ü" * 150)],
)
partitioned(
    "identity partition: int → string",
    "bigint",
    "string",
    "identity",
    "string",
    [("1", "1", "1"), ("-2", "-2", "-2"), ("null", None, None)],
    [('"x"', "x", "x"), ("1", "1", "1"), ('"01"', "01", "01")],
)
partitioned(
    "identity partition: digits",
    "string",
    "string",
    "identity",
    "string",
    [('"1"', "1", "1"), ('"01"', "01", "01")],
    [('"001"', "001", "001"), ("1", "1", "1")],
)
partitioned(
    "identity partition: bool → string",
    "boolean",
    "string",
    "identity",
    "string",
    [("true", "true", "true"), ("false", "false", "false")],
    [('"x"', "x", "x"), ("true", "true", "true")],
)
partitioned(
    "identity partition: double",
    "double",
    "double",
    "identity",
    "string",
    [("0.5", 0.5, "0.5"), ("1e300", 1e300, "1e300"), ("3", 3.0, "3.0")],
    [("-0.0", -0.0, "-0.0"), ("0.5", 0.5, "0.5")],
)
partitioned(
    "identity partition: timestamp",
    "timestamp",
    "timestamp",
    "identity",
    "string",
    [('"2025-01-02T03:04:05.5Z"', utc(2025, 1, 2, 3, 4, 5, 500000), "2025-01-02T03:04:05.500Z"), ("null", None, None)],
    [('"2025-01-02T03:04:05+01:00"', utc(2025, 1, 2, 2, 4, 5), "2025-01-02T02:04:05Z")],
)
partitioned(
    "day partition: timestamp → string",
    "timestamp",
    "string",
    "day",
    "date",
    [
        ('"2025-01-02T23:30:00Z"', "2025-01-02T23:30:00Z", date(2025, 1, 2)),
        ('"2025-01-03T00:00:00+01:00"', "2025-01-03T00:00:00+01:00", date(2025, 1, 2)),
        ("null", None, None),
    ],
    [
        ('"soon"', "soon", None),
        ('"2025-01-04T00:00:00Z"', "2025-01-04T00:00:00Z", date(2025, 1, 4)),
        ("17", "17", None),
    ],
)
partitioned(
    "day partition: far dates",
    "date",
    "date",
    "day",
    "date",
    [('"0001-01-01"', date(1, 1, 1), date(1, 1, 1)), ('"1582-10-10"', date(1582, 10, 10), date(1582, 10, 10))],
    [('"9999-12-31"', date(9999, 12, 31), date(9999, 12, 31)), ("null", None, None)],
)
partitioned(
    "month partition: date → string",
    "date",
    "string",
    "month",
    "string",
    [('"2025-01-02"', "2025-01-02", "2025-01"), ('"2025-02-02"', "2025-02-02", "2025-02")],
    [('"x"', "x", None), ('"2025-01-31T00:00:00Z"', "2025-01-31T00:00:00Z", "2025-01")],
)
partitioned(
    "year partition",
    "timestamp",
    "timestamp",
    "year",
    "int",
    [('"2024-12-31T23:00:00Z"', utc(2024, 12, 31, 23), 2024), ('"2025-01-01T00:00:00Z"', utc(2025, 1, 1), 2025)],
    [("null", None, None), ('"1969-12-31T23:59:59Z"', utc(1969, 12, 31, 23, 59, 59), 1969)],
)
partitioned(
    "hour partition",
    "timestamp",
    "timestamp",
    "hour",
    "string",
    [('"2025-01-02T03:04:05Z"', utc(2025, 1, 2, 3, 4, 5), "2025-01-02-03"), ("null", None, None)],
    [('"2025-01-02T23:59:59.999999Z"', utc(2025, 1, 2, 23, 59, 59, 999999), "2025-01-02-23")],
)
case(
    "several partitions, one value null",
    {"v": "string"},
    {"v": "string"},
    [('"v":"a b"', {"v": "a b", "v_part": "a b", "at_year": 2025}), ("", {"v_part": None, "at_year": 2025})],
    [('"v":"a=b"', {"v": "a=b", "v_part": "a=b", "at_year": 2025}), ('"v":null', {"v_part": None, "at_year": 2025})],
    by=("year(at), identity(v)",),
    partitions={"at_year": "int", "v_part": "string"},
)
case(
    "a key named like the partition column",
    {suffixed("at_day", "at_day"): "bigint"},
    {suffixed("at_day", "at_day"): "string"},
    [('"at_day":1', {suffixed("at_day", "at_day"): "1"}), ("", {})],
    [('"at_day":"x"', {suffixed("at_day", "at_day"): "x"}), ("", {})],
    by=("day(at)",),
)

# Encodings: columns of enough distinct values get no dictionary.

MANY_TYPE = {
    "i": "bigint",
    "n": "bigint",
    "m": "decimal(38,0)",
    "d": "double",
    "t": "timestamp",
    "y": "date",
    "h": "string",
    "p": "string",
    "l": "array<struct<a:bigint,h:string>>",
}


def many(number):
    """A record of values that no other has; every seventh lacks some."""
    digits = f"{number * 2654435761 % 2**32:08x}"
    wide = number * 11400714819323198485 % 2**64 - 2**63
    day = date.fromordinal(date(1990, 1, 1).toordinal() + 37 * number)
    at_second = datetime.fromtimestamp(1_700_000_000 + 977 * number, timezone.utc)
    has = number % 7 > 0
    texts = [
        f'"i":{number * 3}',
        f'"n":{wide}',
        f'"m":{10**20 + number}',
        f'"d":{number}.25',
        f'"t":"{at_second:%Y-%m-%dT%H:%M:%SZ}"',
        f'"y":"{day}"',
        f'"h":"{digits * 5}"',
        f'"p":"https://example.com/things/{100000 + number}"',
        f'"l":[{{"a":{number},"h":"{digits}"}},{{"h":"x{digits}"}}]',
    ]
    values = {
        "i": number * 3,
        "n": wide,
        "m": Decimal(10**20 + number),
        "d": number + 0.25,
        "t": at_second,
        "y": day,
        "h": digits * 5,
        "p": f"https://example.com/things/{100000 + number}",
        "l": [{"a": number, "h": digits}, {"a": None, "h": f"x{digits}"}],
    }
    return (",".join(texts), values) if has else (texts[0], dict.fromkeys(MANY_TYPE) | {"i": number * 3})


case(
    "many distinct values of every type",
    MANY_TYPE,
    MANY_TYPE | {"i": "string"},
    [(text, values | {"i": str(values["i"])}) for text, values in map(many, range(1400))],
    [('"i":"x"', dict.fromkeys(MANY_TYPE) | {"i": "x"}), ("", dict.fromkeys(MANY_TYPE))],
    by=("none",),
)

# How files are stored, where the configuration says it.

EVERY_ENCODING = '''encodings = "split"
dictionary = "off"
[sources."SOURCE".columns]
i = { encoding = "byte-stream-split", bloom = true }
n = { encoding = "plain" }
t = { encoding = "delta-binary-packed", dictionary = false }
h = { encoding = "delta-length-byte-array", bloom = true }
p = { encoding = "delta-byte-array" }'''

for title, settings in {
    "no compression": 'codec = "none"',
    "snappy": 'codec = "snappy"',
    "LZ4_RAW": 'codec = "lz4"',
    "gzip": 'codec = "gzip 6"',
    "zstd 19, plain values": 'codec = "zstd 19"\nencodings = "plain"\ndictionary = "off"',
    "delta encodings": 'encodings = "delta"\ndictionary = "off"',
    "a dictionary for each column": 'dictionary = "on"',
    "data pages version 2, small ones": "page_version = 2\npage_rows = 100\nrow_group_rows = 500",
    "BYTE_STREAM_SPLIT, an encoding for each column, bloom filters": EVERY_ENCODING,
}.items():
    case(
        f"files: {title}",
        MANY_TYPE,
        MANY_TYPE | {"i": "string"} if "SPLIT" not in title else MANY_TYPE,
        [
            (text, values | {"i": str(values["i"])} if "SPLIT" not in title else values)
            for text, values in map(many, range(1400))
        ],
        *([[('"i":"x"', dict.fromkeys(MANY_TYPE) | {"i": "x"})]] if "SPLIT" not in title else []),
        by=("none",),
        settings=settings,
    )

# The log.

promoted(
    "22 versions: a checkpoint in the log",
    "bigint",
    "string",
    *([[(str(run), str(run)), ("null", None)] for run in range(21)] + [[('"x"', "x"), ("null", None)]]),
    by=("day(at)",),
)
