"""Writes docs/readers.md: the text around the matrix stands here, the figures come from the run."""

import datetime
import importlib.metadata
import platform
import re
import subprocess

import notation


def version(package):
    return importlib.metadata.version(package)


HEAD = """# Readers

Whether tables read correctly after every kind of promotion, in the readers that people use. `tests/readers/matrix.py`
wrote this page from what it ran. To repeat it (Python 3.11 or later; Java 17 for Spark):

```sh
python3 -m venv target/readers
target/readers/bin/pip install -r tests/readers/requirements.txt
target/readers/bin/python tests/readers/matrix.py --siltstone target/release/siltstone
```

Run on {day} with {siltstone} on {machine}.

For each of {kinds} kinds the script writes raw JSON and compacts it in two or more runs, of which a later one causes
the promotion. It states the columns and the value of every record by hand. Most kinds lie in two tables: one without
partitions, one partitioned by day. Each reader reads all {tables} tables; all rows are compared value by value (doubles
to the bit, times to the microsecond) and all columns by type. Then each scalar column is filtered for some of its
values and for null: that is where readers skip files by their statistics.

## What each reader needs

| reader | version | read by |
|---|---|---|
{needs}

- deltalake, pandas, DuckDB's `delta_scan`, Polars, DataFusion and `siltstone sql` read the Delta log and need nothing
  more.
- pyarrow, DuckDB's `read_parquet` and Spark read Parquet here, without Delta. They get the files of the current
  version, and the table's types, because a file holds only those columns that have a value in it.
- DuckDB's extension `delta` comes from PyPI: `duckdb-extension-delta` carries the signed extension for one version of
  DuckDB. Spark's Delta needs jars from Maven and is not tested.
- pandas has no integers that may be null, unless `types_mapper` is given. `siltstone sql` gives NDJSON: its values are
  compared, not its types.

Without what is given:

| reader | without | kind | then |
|---|---|---|---|
{without}

## Results

| reader | tables read right | filters right |
|---|---|---|
{totals}

`log` is the schema in the Delta log after the first and the last run. A number is a note below; "filter" before it: all
rows are read right, but a filter loses some. Bold: not known to be the reader's own doing. "-": not read.

{matrix}

## Notes

{notes}
"""


def row(cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def types(case):
    """The type of the column that changes, before and after."""

    def of(columns):
        if not columns:
            return "none"
        return f"`{notation.brief(notation.parse(*columns.values()))}`" if len(columns) == 1 else "several"

    before, after = of(case.before), of(case.after)
    return before if before == after else f"{before} → {after}"


class Notes:
    """The notes, numbered in the order of their first use."""

    def __init__(self, work):
        self._notes, self._work = {}, str(work)

    def number(self, reader, kind, what, reason):
        what = f"{kind}: {plain(what.replace(self._work, '...'))}."
        number, readers, _ = self._notes.setdefault(reason or what, (len(self._notes) + 1, {}, what))
        readers[reader] = None
        return f"{number}" if reason else f"**{number}**"

    def lines(self):
        for reason, (number, readers, what) in self._notes.items():
            yield f"{number}. {', '.join(readers)}: {reason}" + ("" if reason == what else f" First seen: {what}")


def plain(text):
    """A text that shows as it is: no markup, no control characters."""
    return re.sub(r"[\x00-\x1f]", " ", text.replace("<", "&lt;"))


def render(binary, tables, log, columns, work):
    """The page, and the deviations without a known reason."""
    notes, unknown, lines = Notes(work), [], []

    def note(reader, kind, what, reason):
        if reason is None:
            unknown.append(f"{reader}: {kind}: {what.replace(str(work), '...')}"[:400])
        return notes.number(reader, kind, what, reason)

    def cell(column, table):
        outcome, kind = column.outcomes.get(table.source), table.case.kind
        if outcome is None:
            return "-"
        if outcome.rows:
            return note(column.title, kind, outcome.rows, column.reason(kind, outcome.rows))
        found = [note(column.title, kind, what, column.reason(kind, what)) for what in outcome.filtered]
        return f"filter {', '.join(dict.fromkeys(found))}" if found else "ok"

    cases = list(dict.fromkeys(table.case for table in tables))
    for case in cases:
        mine = [table for table in tables if table.case is case]
        cells = [[note("log", case.kind, log[table.source], None) if table.source in log else "ok" for table in mine]]
        cells += [[cell(column, table) for table in mine] for column in columns]
        texts = [
            found[0] if len(set(found)) == 1 else "; ".join(f"{table.by}: {one}" for table, one in zip(mine, found))
            for found in cells
        ]
        lines.append(row([case.kind, types(case), *texts]))
    for column in columns:
        if column.failed:
            unknown.append(f"{column.title}: {column.failed}")

    titles = ["kind", "type", "log", *(column.title for column in columns)]
    siltstone = subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.strip()
    page = HEAD.format(
        day=datetime.date.today().isoformat(),
        siltstone=siltstone,
        machine=f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        kinds=len(cases),
        tables=len(tables),
        needs="\n".join(row([column.title, column.failed or column.version or "", column.call]) for column in columns),
        without="\n".join(
            row([column.title, f"`{setting}`{''.join(f', {text}' for text in remark)}", kind, plain(what)])
            for column in columns
            for setting, kind, what, *remark in column.without
        ),
        totals="\n".join(row([column.title, *totals(column, tables)]) for column in columns),
        matrix="\n".join([row(titles), "|---" * len(titles) + "|", *lines]),
        notes="\n".join(notes.lines()) or "None.",
    )
    return page, unknown


def totals(column, tables):
    outcomes = column.outcomes.values()
    tried = sum(outcome.tried for outcome in outcomes)
    right = sum(outcome.right for outcome in outcomes)
    read = sum(outcome.rows is None for outcome in outcomes)
    return f"{read} of {len(tables)}", f"{right} of {tried}" if tried else "not tried"
