"""The readers: each reads a table of the lake as its users would, and counts the rows that filters leave.

`read` gives the types of the columns by name and the rows. `count` gives the rows that each filter leaves; a filter is
a column, its type and a value (None: is null). For filters a reader skips files and row groups, by the statistics in
the log and in the footers. `without` lists what the reader needs: a setting, the kind of promotion that shows it, a
read without the setting, and perhaps a remark. `known` lists deviations that are the reader's own: a pattern for the
kind, one for the deviation, and the reason.
"""

import datetime
import decimal
import importlib.util
import json
import os
import pathlib
import subprocess
import tempfile

import datafusion
import deltalake
import duckdb
import pandas
import polars
import pyarrow
import pyarrow.compute
import pyarrow.dataset

import notation

# The types of columns that filters are tried on.
ARROW = {
    "boolean": pyarrow.bool_(),
    "bigint": pyarrow.int64(),
    "int": pyarrow.int32(),
    "double": pyarrow.float64(),
    "decimal(38,0)": pyarrow.decimal128(38, 0),
    "timestamp": pyarrow.timestamp("us", "UTC"),
    "date": pyarrow.date32(),
    "string": pyarrow.string(),
}

FROM_FOLDERS = "It takes partition values from the names of folders and not from the log. "
HIVE_NULL = (r"__HIVE_DEFAULT_PARTITION__", r"v_part", FROM_FOLDERS + "There, this text means null.")
CUT = (r"300 bytes", r"v_part", FROM_FOLDERS + "A name too long for a file system is cut and ends with a hash.")
OWN_NAMES = (
    r"__filename",
    r"Multiple matches for FieldRef",
    "pyarrow's scanner refuses columns with the names that it uses itself: `__filename`, `__fragment_index`, "
    "`__batch_index`, `__last_in_fragment`.",
)


def from_arrow(table):
    return {field.name: notation.of_arrow(field.type) for field in table.schema}, table.to_pylist()


def arrow_filter(column, kind, value):
    of = pyarrow.compute.field(column)
    return of.is_null() if value is None else of == pyarrow.scalar(value, ARROW[kind])


def arrow_literal(kind, value):
    """A literal of DataFusion's SQL, of exactly this type."""
    names = {
        "boolean": "Boolean",
        "bigint": "Int64",
        "int": "Int32",
        "double": "Float64",
        "date": "Date32",
        "string": "Utf8",
        "decimal(38,0)": "Decimal128(38, 0)",
        "timestamp": 'Timestamp(Microsecond, Some("UTC"))',
    }
    text = value.isoformat() if isinstance(value, datetime.datetime) else str(value)
    return f"arrow_cast({quoted(text, QUOTE)}, '{names[kind]}')"


QUOTE = "'"


def quoted(text, mark='"'):
    return mark + text.replace(mark, mark * 2) + mark


class Reader:
    without, known = (), ()


class Deltalake(Reader):
    title, package = "deltalake", "deltalake"
    call = "`DeltaTable(path).to_pyarrow_table()`; filters: `to_pyarrow_dataset()`"

    def __init__(self):
        self.known = [OWN_NAMES]
        with tempfile.TemporaryDirectory() as own:
            rows = pyarrow.table({"id": [1, 2]}), pyarrow.table({"id": [3, 4], "v": ["x", None]})
            for part in rows:
                deltalake.write_deltalake(own, part, mode="append", schema_mode="merge")
            table = deltalake.DeltaTable(own)
            count = table.to_pyarrow_dataset().count_rows(filter=pyarrow.compute.field("v").is_null())
        if count != 3:
            reason = (
                "The filter `is_null` of its dataset misses the rows of files without the column. So it does with a "
                f"table that deltalake wrote itself and added a column to: {count} row of 3."
            )
            self.known.append((r"", r"^filter `\S+ is null`", reason))

    def read(self, table):
        return from_arrow(deltalake.DeltaTable(table.path).to_pyarrow_table())

    def count(self, table, filters):
        dataset = deltalake.DeltaTable(table.path).to_pyarrow_dataset()
        return [dataset.count_rows(filter=arrow_filter(*one)) for one in filters]


class Pandas(Reader):
    title, package = "pandas", "pandas"
    call = "deltalake's `DeltaTable(path).to_pandas(types_mapper=pandas.ArrowDtype)`"
    known = [OWN_NAMES]

    def __init__(self):
        self.without = [("types_mapper", "int → wide int", lambda table: self._read(table, None))]

    def read(self, table):
        return self._read(table, pandas.ArrowDtype)

    def _read(self, table, types_mapper):
        frame = deltalake.DeltaTable(table.path).to_pandas(types_mapper=types_mapper)
        types = {name: notation.of_pandas(kind) for name, kind in frame.dtypes.items()}
        columns = [[self._plain(value) for value in frame[name].tolist()] for name in frame.columns]
        return types, [dict(zip(frame.columns, row)) for row in zip(*columns)] if columns else [{}] * len(frame)

    @staticmethod
    def _plain(value):
        if value is pandas.NA or value is pandas.NaT:
            return None
        return value.to_pydatetime() if isinstance(value, pandas.Timestamp) else value


class Pyarrow(Reader):
    title, package = "pyarrow", "pyarrow"
    call = "`pyarrow.dataset.dataset(files, schema=..., partitioning=..., partition_base_dir=path)`"
    known = [HIVE_NULL, CUT, OWN_NAMES]

    def __init__(self):
        def inferred(table):
            own = pyarrow.dataset.dataset(table.files, partitioning="hive", partition_base_dir=table.path)
            return from_arrow(own.to_table())

        self.without = [("schema", "new columns of every type", inferred)]

    def _open(self, table):
        schema = pyarrow.schema(deltalake.Schema.from_json(json.dumps(table.schema)).to_arrow())
        partitions = pyarrow.schema([schema.field(name) for name in table.partition_columns])
        hive = pyarrow.dataset.partitioning(partitions, flavor="hive")
        return pyarrow.dataset.dataset(table.files, schema=schema, partitioning=hive, partition_base_dir=table.path)

    def read(self, table):
        return from_arrow(self._open(table).to_table())

    def count(self, table, filters):
        return [self._open(table).count_rows(filter=arrow_filter(*one)) for one in filters]


class Duckdb(Reader):
    """What both ways to read with DuckDB share."""

    package = "duckdb"
    _names = {"string": "VARCHAR", "timestamp": "TIMESTAMPTZ"}

    def __init__(self):
        self._connect()

    def _connect(self):
        self._db = duckdb.connect()
        self._db.execute("SET TimeZone = 'UTC'")

    def read(self, table):
        return self._read(self._source(table))

    def _read(self, source):
        try:
            found = self._db.sql(f"FROM {source}")
            types = dict(zip(found.columns, map(notation.of_duckdb, found.types)))
            return types, found.to_arrow_table().to_pylist()
        except duckdb.Error:
            # After an internal error a connection answers nothing any more.
            self._connect()
            raise

    def count(self, table, filters):
        return [self._count(table, *one) for one in filters]

    def _count(self, table, column, kind, value):
        sql = f"SELECT count(*) FROM {self._source(table)} WHERE {quoted(column)}"
        if value is None:
            return self._db.execute(f"{sql} IS NULL").fetchall()[0][0]
        value = str(value) if isinstance(value, decimal.Decimal) else value
        return self._db.execute(f"{sql} = CAST(? AS {self._names.get(kind, kind)})", [value]).fetchall()[0][0]


class DuckdbDelta(Duckdb):
    title = "DuckDB delta_scan"
    call = "`FROM delta_scan('path')`"

    def _connect(self):
        super()._connect()
        package = importlib.util.find_spec("duckdb_extension_delta")
        if package:
            folder = pathlib.Path(package.origin).parent / "extensions" / f"v{duckdb.__version__}"
            self._db.execute(f"LOAD {quoted(str(folder / 'delta.duckdb_extension'), QUOTE)}")
        else:
            self._db.execute("INSTALL delta; LOAD delta")

    def _source(self, table):
        return f"delta_scan({quoted(table.path, QUOTE)})"


class DuckdbParquet(Duckdb):
    title = "DuckDB read_parquet"
    call = "`FROM read_parquet([files], union_by_name = true, hive_partitioning = true, hive_types = {...})`"
    known = [
        HIVE_NULL,
        CUT,
        (r"odd characters", r"v_part", FROM_FOLDERS + "`null` and `NULL` mean null to it."),
        (
            r"records \{\}",
            r"siltstone-no-values",
            "Files whose rows have no value in any column hold one column of nulls, `siltstone-no-values`, because "
            "Parquet counts rows by columns. The table does not have it; `union_by_name` shows it.",
        ),
    ]

    def __init__(self):
        super().__init__()
        self.without = [
            ("union_by_name", "new columns of every type", lambda table: self._read(self._source(table, union=False))),
            ("hive_types", "year partition", lambda table: self._read(self._source(table, types=False))),
        ]

    def _source(self, table, union=True, types=True):
        options = [f"[{', '.join(quoted(file, QUOTE) for file in table.files)}]", f"union_by_name = {union}"]
        options.append(f"hive_partitioning = {bool(table.partition_columns)}")
        if types and table.partition_columns:
            names = ((name, table.types[name]) for name in table.partition_columns)
            given = ", ".join(f"{quoted(name)}: {self._names.get(kind, kind)}" for name, kind in names)
            options.append(f"hive_types = {{{given}}}")
        return f"read_parquet({', '.join(options)})"


class Polars(Reader):
    title, package = "Polars", "polars"
    call = "`polars.scan_delta(path).collect()`"
    known = [HIVE_NULL, CUT]

    def read(self, table):
        frame = polars.scan_delta(table.path).collect()
        return {name: notation.of_polars(kind) for name, kind in frame.schema.items()}, frame.to_dicts()

    def count(self, table, filters):
        scan = polars.scan_delta(table.path)
        counts = [scan.filter(self._filter(*one)).select(polars.len()) for one in filters]
        return [found.item() for found in polars.collect_all(counts)]

    def _filter(self, column, kind, value):
        of = polars.col(column)
        if value is None:
            return of.is_null()
        types = {"decimal(38,0)": polars.Decimal(38, 0), "timestamp": polars.Datetime("us", "UTC")}
        return of == (polars.lit(value, types[kind]) if kind in types else polars.lit(value))


class Spark(Reader):
    title, package = "Spark", "pyspark"
    call = "`spark.read.schema(...).option('basePath', path).parquet(*files)`"
    known = [
        HIVE_NULL,
        CUT,
        (
            r"odd characters",
            r"v_part",
            FROM_FOLDERS + "Each escaped byte is a character to it: only ASCII reads right.",
        ),
    ]

    def __init__(self, work):
        from pyspark.sql import SparkSession

        settings = {
            "spark.driver.bindAddress": "127.0.0.1",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.memory": "2g",
            "spark.local.dir": f"{work}/spark",
            "spark.log.level": "OFF",
            "spark.sql.session.timeZone": "UTC",
            "spark.sql.warehouse.dir": f"{work}/warehouse",
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
        }
        builder = SparkSession.builder.master("local[2]").appName("readers")
        for name, value in settings.items():
            builder = builder.config(name, value)
        self._session = builder.getOrCreate()

        def merged(table):
            return self._read(table, self._session.read.option("mergeSchema", "true"))

        self.without = [
            ("schema", "new columns of every type", lambda table: self._read(table, self._session.read)),
            ("schema", "identity partition: digits", merged, "with `mergeSchema`"),
        ]

    def read(self, table):
        from pyspark.sql.types import StructType

        return self._read(table, self._session.read.schema(StructType.fromJson(table.schema)))

    def _read(self, table, reader):
        frame = reader.option("basePath", table.path).parquet(*table.files)
        _, rows = from_arrow(frame.toArrow())
        return {field.name: notation.parse(field.dataType.simpleString()) for field in frame.schema.fields}, rows

    def close(self):
        self._session.stop()


class Datafusion(Reader):
    title, package = "DataFusion", "datafusion"
    call = "`SessionContext().register_table(name, deltalake.DeltaTable(path))`, then SQL"

    def _open(self, table):
        context = datafusion.SessionContext()
        context.register_table("t", deltalake.DeltaTable(table.path))
        return context

    def read(self, table):
        context = self._open(table)
        return from_arrow(context.sql("SELECT * FROM t").to_arrow_table())

    def count(self, table, filters):
        context = self._open(table)
        counts = [context.sql(f"SELECT count(*) AS n FROM t WHERE {sql_filter(*one)}") for one in filters]
        return [found.to_arrow_table().column("n")[0].as_py() for found in counts]


def sql_filter(column, kind, value):
    return quoted(column) + (" IS NULL" if value is None else f" = {arrow_literal(kind, value)}")


class Siltstone(Reader):
    title, package = "siltstone sql", None
    call = "`siltstone sql 'SELECT * FROM lake.source' --format ndjson`"

    def __init__(self, binary):
        self._binary = binary

    def _query(self, table, select):
        lake, source = os.path.split(table.path)
        with tempfile.NamedTemporaryFile("w", suffix=".sql", encoding="utf-8") as sql:
            sql.write(select(f"lake.{quoted(source)}"))
            sql.flush()
            command = [self._binary, "sql", "-f", sql.name, "--lake", lake, "--format", "ndjson"]
            done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        return [json.loads(line, parse_float=str) for line in done.stdout.splitlines()]

    def read(self, table):
        kind = notation.struct((name, notation.parse(text)) for name, text in table.types.items())
        rows = self._query(table, lambda name: f"SELECT * FROM {name}")
        # NDJSON has no types of its own to compare.
        return None, [self._value(row, kind) for row in rows]

    def count(self, table, filters):
        def select(name):
            where = enumerate(sql_filter(*one) for one in filters)
            return " UNION ALL ".join(f"SELECT {i} AS i, count(*) AS n FROM {name} WHERE {of}" for i, of in where)

        found = {row["i"]: row["n"] for row in self._query(table, select)}
        return [found[i] for i in range(len(filters))]

    def _value(self, value, kind):
        """A value of NDJSON as one of its column's type."""
        if value is None:
            return None
        if kind[0] == "struct":
            unknown = value.keys() - dict(kind[1]).keys()
            if unknown:
                raise ValueError(f"columns too many: {', '.join(sorted(unknown))}")
            return {name: self._value(value.get(name), below) for name, below in kind[1]}
        if kind[0] == "array":
            return [self._value(element, kind[1]) for element in value]
        if kind[0] == "map":
            return {key: self._value(item, kind[1]) for key, item in value.items()}
        if kind == "double" and not isinstance(value, bool):
            return float(value)
        if kind == "timestamp":
            return datetime.datetime.fromisoformat(value)
        if kind == "date":
            return datetime.date.fromisoformat(value)
        return decimal.Decimal(value) if kind.startswith("decimal") else value
