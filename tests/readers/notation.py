"""Column types and values in one notation, whatever reader they come from.

A type is a name (`bigint`, `decimal(38,0)`, ...) or a tuple: `("array", element)`, `("map", value)`,
`("struct", ((name, type), ...))` with the fields sorted by name. A reader's type without a counterpart keeps its own
name, so it never compares as equal to a column's.
"""

import datetime
import re

import duckdb
import polars
import pyarrow


def struct(fields):
    return ("struct", tuple(sorted(fields)))


def parse(text):
    """`struct<a:bigint,b:array<string>>` as a type."""
    tokens = re.findall(r"decimal\(\d+,\d+\)|\w+|[<>:,]", text)

    def take():
        name = tokens.pop(0)
        if name not in ("struct", "array", "map"):
            return name
        assert tokens.pop(0) == "<", text
        if name == "array":
            found = ("array", take())
        elif name == "map":
            assert (tokens.pop(0), tokens.pop(0)) == ("string", ","), text
            found = ("map", take())
        else:
            fields = []
            while True:
                field = tokens.pop(0)
                assert tokens.pop(0) == ":", text
                fields.append((field, take()))
                if tokens[0] != ",":
                    break
                tokens.pop(0)
            found = struct(fields)
        assert tokens.pop(0) == ">", text
        return found

    found = take()
    assert not tokens, text
    return found


def show(kind, levels=99):
    """The type as text; what lies deeper than `levels` is left out."""
    if isinstance(kind, str):
        return kind
    if not levels:
        return f"{kind[0]}<...>"
    if kind[0] == "struct":
        return "struct<" + ",".join(f"{name}:{show(below, levels - 1)}" for name, below in kind[1]) + ">"
    below = show(kind[1], levels - 1)
    return f"map<string,{below}>" if kind[0] == "map" else f"array<{below}>"


def brief(kind):
    """The type as text, with as many levels as fit."""
    return next(text for levels in (99, 2, 1, 0) if len(text := show(kind, levels)) <= 60)


def of_delta(kind):
    """The type of a column in a Delta table's schema."""
    if isinstance(kind, str):
        return {"long": "bigint", "integer": "int"}.get(kind, kind)
    if kind["type"] == "struct":
        return struct((field["name"], of_delta(field["type"])) for field in kind["fields"])
    if kind["type"] == "array":
        return ("array", of_delta(kind["elementType"]))
    return ("map", of_delta(kind["valueType"])) if kind["keyType"] == "string" else str(kind)


def of_arrow(kind):
    types = pyarrow.types
    if types.is_timestamp(kind):
        return "timestamp" if (kind.unit, kind.tz) in (("us", "UTC"), ("us", "Etc/UTC")) else str(kind)
    if types.is_decimal128(kind):
        return f"decimal({kind.precision},{kind.scale})"
    if types.is_struct(kind):
        return struct((kind.field(i).name, of_arrow(kind.field(i).type)) for i in range(kind.num_fields))
    if types.is_map(kind):
        return ("map", of_arrow(kind.item_type)) if of_arrow(kind.key_type) == "string" else str(kind)
    if types.is_list(kind) or types.is_large_list(kind) or types.is_list_view(kind) or types.is_large_list_view(kind):
        return ("array", of_arrow(kind.value_type))
    if types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        return "string"
    return {"bool": "boolean", "int64": "bigint", "int32": "int", "date32[day]": "date"}.get(str(kind), str(kind))


def of_duckdb(kind):
    if kind.id == "struct":
        return struct((name, of_duckdb(below)) for name, below in kind.children)
    if kind.id == "list":
        return ("array", of_duckdb(kind.children[0][1]))
    if kind.id == "map":
        (_, key), (_, value) = kind.children
        return ("map", of_duckdb(value)) if key == duckdb.sqltypes.VARCHAR else str(kind)
    names = {"INTEGER": "int", "VARCHAR": "string", "TIMESTAMP WITH TIME ZONE": "timestamp"}
    return names.get(str(kind), str(kind).lower())


def of_polars(kind):
    if isinstance(kind, polars.Struct):
        return struct((field.name, of_polars(field.dtype)) for field in kind.fields)
    if isinstance(kind, polars.Map):
        return ("map", of_polars(kind.value)) if kind.key == polars.String else str(kind)
    if isinstance(kind, polars.List):
        return ("array", of_polars(kind.inner))
    if isinstance(kind, polars.Decimal):
        return f"decimal({kind.precision},{kind.scale})"
    if kind == polars.Datetime("us", "UTC"):
        return "timestamp"
    names = {"Boolean": "boolean", "Int64": "bigint", "Int32": "int", "Float64": "double", "String": "string"}
    return names.get(str(kind), str(kind).lower())


def of_pandas(kind):
    if hasattr(kind, "pyarrow_dtype"):
        return of_arrow(kind.pyarrow_dtype)
    names = {"bool": "boolean", "int64": "bigint", "int32": "int", "float64": "double", "str": "string"}
    return names.get(str(kind), "timestamp" if str(kind) == "datetime64[us, UTC]" else str(kind))


def canonical(value, kind):
    """A value as plain text to compare, exact to the bit. What is no value of the type stays recognisable."""
    if value is None:
        return "null"
    if isinstance(kind, tuple):
        if kind[0] == "struct" and isinstance(value, dict):
            return "{" + ",".join(f"{name}:{canonical(value.get(name), below)}" for name, below in kind[1]) + "}"
        if kind[0] == "array" and not isinstance(value, (str, dict)):
            return "[" + ",".join(canonical(element, kind[1]) for element in value) + "]"
        if kind[0] == "map":
            pairs = value.items() if isinstance(value, dict) else value
            return "map{" + ",".join(sorted(f"{key!r}:{canonical(item, kind[1])}" for key, item in pairs)) + "}"
        return f"{type(value).__name__} {value!r}"
    if kind == "timestamp" and isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.timezone.utc).isoformat(timespec="microseconds")
    if kind.startswith("decimal") and value == value.to_integral_value():
        return str(int(value))
    expected = {"boolean": bool, "bigint": int, "int": int, "double": float, "date": datetime.date, "string": str}
    if type(value) is expected.get(kind):
        return str(value) if kind == "date" else repr(value)
    return f"{type(value).__name__} {value!r}"
