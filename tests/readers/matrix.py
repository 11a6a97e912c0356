#!/usr/bin/env python3
"""The reader matrix: compacts each kind of promotion, reads the tables with every reader, compares all values, and
writes docs/readers.md.

    python3 -m venv target/readers && target/readers/bin/pip install -r tests/readers/requirements.txt
    target/readers/bin/python tests/readers/matrix.py --siltstone target/release/siltstone

Exits with 1 when anything deviates that is not known to be the reader's own (`known` in readers.py).
"""

import argparse
import collections
import concurrent.futures
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse

import cases
import notation
import readers
import report

ROOT = pathlib.Path(__file__).resolve().parents[2]


class LakeTable:
    """The current version of a table, by its log alone: folder, data files, schema."""

    def __init__(self, lake, source, types):
        self.path, self.types = str(lake / source), types
        self.first, files = None, {}
        for entry in sorted((lake / source / "_delta_log").glob("*.json")):
            for line in entry.read_text(encoding="utf-8").splitlines():
                action = json.loads(line)
                if "metaData" in action:
                    self.schema = json.loads(action["metaData"]["schemaString"])
                    self.partition_columns = action["metaData"]["partitionColumns"]
                if "add" in action:
                    files[action["add"]["path"]] = None
                if "remove" in action:
                    del files[action["remove"]["path"]]
            self.first = self.first or self.columns()
        self.files = [f"{self.path}/{urllib.parse.unquote(path)}" for path in files]

    def columns(self):
        return {field["name"]: notation.of_delta(field["type"]) for field in self.schema["fields"]}


def compact(binary, tables, raw, lake):
    """Compacts the raw texts of the tables, one run after another; gives what went wrong, by source."""
    wrong = {}
    config = raw.with_suffix(".toml")
    blocks = [(table.source, table.case.settings) for table in tables if table.case.settings]
    text = "\n".join(f'[sources."{source}"]\n{said.replace("SOURCE", source)}' for source, said in blocks)
    config.write_text(text, encoding="utf-8")
    for run in range(max(len(table.raw) for table in tables)):
        by = collections.defaultdict(list)
        for table in tables:
            if run < len(table.raw):
                by[table.by].append(table.source)
                folder = raw / table.source
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{run:02}.json").write_text(table.raw[run], encoding="utf-8")
        for expression, sources in by.items():
            command = [binary, "compact", *sources, "--raw", raw, "--lake", lake, "--partition-by", expression]
            command += ["--config", config]
            done = subprocess.run([*command, "--output", "json"], capture_output=True, text=True, encoding="utf-8")
            if not done.stdout:
                sys.exit(f"{' '.join(map(str, command))}\n{done.stderr}")
            for source in json.loads(done.stdout)["sources"]:
                if source["status"] != "SUCCESS" or source["error_count"]:
                    what = source.get("error") or f"{source['status']}, {source['error_count']} errors"
                    wrong.setdefault(source["source_id"], f"run {run + 1}: {what}")
    return wrong


def check_log(table, lake_table):
    """Whether the table has the columns that it should have, after the first run and after the last."""
    after = compare_types(lake_table.columns(), parsed(table.types))
    if after or table.before is None:
        return after
    first = {name: kind for name, kind in lake_table.first.items() if name not in lake_table.partition_columns}
    before = compare_types(first, parsed(table.before))
    return before and f"after run 1: {before}"


def parsed(types):
    return {name: notation.parse(text) for name, text in types.items()}


def compare_types(found, wanted):
    for name in wanted:
        if name not in found:
            return f"no column `{name}`"
        if found[name] != wanted[name]:
            return f"`{name}` is {notation.brief(found[name])}, not {notation.brief(wanted[name])}"
    if len(found) > len(wanted):
        return f"columns too many: {', '.join(sorted(found.keys() - wanted.keys()))}"
    return None


def compare_rows(found, wanted, types):
    kind = notation.struct(types.items())
    surplus = collections.Counter(notation.canonical(row, kind) for row in found)
    lacking = collections.Counter(notation.canonical(row, kind) for row in wanted)
    if surplus == lacking:
        return None
    if len(found) != len(wanted):
        return f"{len(found)} rows, not {len(wanted)}"
    wrong = (lacking - surplus).total()
    by_id = {row.get("id"): row for row in found}
    for row in wanted:
        other = by_id.get(row.get("id"), {})
        for name, of in types.items():
            value, right = (notation.canonical(side.get(name), of) for side in (other, row))
            if "id" in row and value != right:
                return f"{wrong} of {len(wanted)} rows differ, as `{name}` is {short(value)}, not {short(right)}"
    return f"{wrong} of {len(wanted)} rows differ"


def short(text):
    """The text, or its ends."""
    return text if len(text) <= 90 else f"{text[:50]} ... {text[-30:]}"


def filters(table):
    """Up to four values of each scalar column, and null; and how many rows have each."""
    found = []
    for name, kind in table.types.items():
        if kind not in readers.ARROW:
            continue
        texts = [notation.canonical(row[name], kind) for row in table.rows]
        counts = collections.Counter(texts)
        values = list({text: row[name] for text, row in zip(texts, table.rows) if row[name] is not None}.values())
        for value in [*values[:2], *values[2:][-2:], None]:
            found.append(((name, kind, value), counts[notation.canonical(value, kind)]))
    return found


class Outcome:
    """How a reader read a table: what deviates in rows or types, and for each filter that is wrong; filters tried."""

    def __init__(self, rows):
        self.rows, self.filtered, self.tried, self.right = rows, [], 0, 0


def attempt(read, *args):
    """What `read` gives, or its error as a text."""
    try:
        return read(*args), None
    except Exception as error:  # Whatever a reader raises is a finding.
        return None, f"refused: {type(error).__name__}: {' '.join(str(error).split())}"[:300]
    except BaseException as error:  # A panic of a reader written in Rust.
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            raise
        return None, f"refused: {type(error).__name__}: {error}"[:300]


def compare(read, lake_table, table):
    types = parsed(table.types)
    found, refused = attempt(read, lake_table)
    if refused:
        return refused
    found_types, rows = found
    return (found_types is not None and compare_types(found_types, types)) or compare_rows(rows, table.rows, types)


def check(reader, lake_table, table):
    outcome = Outcome(compare(reader.read, lake_table, table))
    if outcome.rows or not hasattr(reader, "count"):
        return outcome
    wanted = filters(table)
    if not wanted:
        return outcome
    outcome.tried = len(wanted)
    counts, refused = attempt(reader.count, lake_table, [one for one, _ in wanted])
    if refused:
        outcome.filtered.append(f"filter {refused}")
        return outcome
    for ((name, kind, value), rows), count in zip(wanted, counts):
        outcome.right += rows == count
        if rows != count:
            what = "is null" if value is None else f"= {short(notation.canonical(value, kind))}"
            outcome.filtered.append(f"filter `{name} {what}` leaves {count} of {rows} rows")
    return outcome


class Column:
    """All that a reader made of all tables."""

    def __init__(self, lake_tables, make, *args):
        self.title, self.version, self.call = make.title, None, make.call
        self.known, self.outcomes, self.without = make.known, {}, []
        reader, self.failed = attempt(make, *args)
        if self.failed:
            return
        started = time.monotonic()
        if reader.package:
            self.version = report.version(reader.package)
        self.known = reader.known
        for table, lake_table in lake_tables.items():
            self.outcomes[table.source] = check(reader, lake_table, table)
        for setting, kind, read, *remark in reader.without:
            shown = [pair for pair in lake_tables.items() if pair[0].case.kind == kind]
            what = compare(read, *reversed(shown[-1])) or "nothing deviates" if shown else "not tried"
            self.without.append((setting, kind, what, *remark))
        if hasattr(reader, "close"):
            reader.close()
        print(f"{self.title}: {time.monotonic() - started:.0f} s", file=sys.stderr)

    def reason(self, kind, what):
        """Why a deviation is the reader's own; None when that is not known."""
        return next((why for of, how, why in self.known if re.search(of, kind) and re.search(how, what)), None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split(":")[0])
    parser.add_argument("--siltstone", required=True, type=pathlib.Path, help="the binary")
    parser.add_argument("--work", type=pathlib.Path, help="a folder to keep raw and lake in; default: a temporary one")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "docs/readers.md", help="default: docs/readers.md")
    args = parser.parse_args()
    binary = args.siltstone.resolve()
    # For all readers that show times in the zone of the machine.
    os.environ["TZ"] = "UTC"
    time.tzset()
    temporary = None if args.work else tempfile.TemporaryDirectory(prefix="readers-", ignore_cleanup_errors=True)
    work = (args.work or pathlib.Path(temporary.name)).resolve()
    raw, lake = work / "raw", work / "lake"
    for folder in (raw, lake):
        shutil.rmtree(folder, ignore_errors=True)

    started = time.monotonic()
    tables = [table for case in cases.CASES for table in case.tables()]
    log = compact(binary, tables, raw, lake)
    print(f"compacted: {time.monotonic() - started:.0f} s", file=sys.stderr)
    # Only tables that are as they should be are read.
    lake_tables = {}
    for table in tables:
        if table.source not in log:
            lake_tables[table] = LakeTable(lake, table.source, table.types)
            wrong = check_log(table, lake_tables[table])
            if wrong:
                log[table.source] = wrong
                del lake_tables[table]

    others = [readers.Deltalake, readers.Pandas, readers.Pyarrow, readers.DuckdbDelta, readers.DuckdbParquet]
    # Spark is the slowest and waits most, so it runs beside the others.
    with concurrent.futures.ThreadPoolExecutor(1) as beside:
        spark = beside.submit(Column, lake_tables, readers.Spark, work)
        columns = [Column(lake_tables, make) for make in [*others, readers.Polars, readers.Datafusion]]
        columns.append(Column(lake_tables, readers.Siltstone, binary))
        columns.insert(len(others) + 1, spark.result())
    text, unknown = report.render(binary, tables, log, columns, work)
    args.out.write_text(text, encoding="utf-8")
    seconds = time.monotonic() - started
    print(f"{args.out}: {len(unknown)} deviations without a known reason, {seconds:.0f} s", file=sys.stderr)
    for line in unknown:
        print(line, file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
