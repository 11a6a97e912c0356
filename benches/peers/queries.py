#!/usr/bin/env python3
"""siltstone beside its peers: five queries over raw JSON, and over the table made of it.

    python3 -m venv target/peers && target/peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release
    target/peers/bin/python benches/peers/queries.py

Takes the raw data that compare.py makes or, with `--raw DIR`, a folder with a folder per source: events (that of
generate.py), gharchive (hours of gharchive.org, as .json.gz) and pge (arrays of outages, https://github.com/simonw/pge-outages).
The table is made by siltstone first, without partitions; peers read its Parquet files.

    count     count(*)
    group     count(*) by one top-level string
    nested    the average of a nested leaf by another, the ten largest
    filter    five leaves of the one percent of records that pass a filter on one leaf
    lookup    the record with an id

Each engine runs each query in a process of its own on the same cores, in turns; the first turn warms up and does not count.
Peers are timed from after their import, siltstone from the start of its process to its end; what they infer of the data
counts, as there is nothing else that tells them. siltstone knows the columns of the raw objects from its table. Memory is that
of whole processes.

Exits with 1 when an engine that finished gave another answer than the first.
"""

import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys

import compare
import generate
from compare import Failure, run

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = ("duckdb", "chdb", "polars", "datafusion")
QUERIES = ("count", "group", "nested", "filter", "lookup")

# Of each source: its leaves, and what the filter compares.
SOURCES = {
    "events": {
        "group": "type",
        "nested": ("actor.login", "payload.size"),
        "filter": ("metrics.latency_ms", "<", 21),
        "project": ("id", "type", "actor.login", "site.name", "payload.size"),
        "lookup": ("id", "10000150000"),
    },
    "gharchive": {
        "group": "type",
        "nested": ("actor.login", "payload.size"),
        "filter": ("actor.id", "<", 5913),
        "project": ("id", "type", "actor.login", "repo.name", "payload.push_id"),
        "lookup": ("id", "2489400028"),
    },
    "pge": {
        "group": "CITY",
        "nested": ("OUTAGE_CAUSE", "EST_CUSTOMERS"),
        "filter": ("EST_CUSTOMERS", ">", 1),
        "project": ("CITY", "CREW_CURRENT_STATUS", "OUTAGE_CAUSE", "EST_CUSTOMERS", "OUTAGE_START"),
        "lookup": ("OUTAGE_CIRCUIT_ID", 253981105),
    },
}


def parse():
    parser = compare.parser_of(__doc__, PEERS)
    parser.add_argument("--sources", nargs="+", choices=tuple(SOURCES), default=["events"])
    parser.add_argument("--sides", nargs="+", choices=("raw", "lake"), default=["raw", "lake"])
    parser.add_argument("--queries", nargs="+", choices=QUERIES, default=list(QUERIES))
    parser.add_argument("--scale", type=float, default=1.0, help="of the events that are made; 1: 290 MB")
    parser.add_argument("--raw", type=pathlib.Path, help="a raw root to query instead")
    return parser.parse_args()


def main():
    arguments = parse()
    compare.begin(arguments)
    agreed = True
    for source in arguments.sources:
        raw, lake = prepare(source, arguments)
        for side in arguments.sides:
            agreed &= measure(source, side, raw, lake, arguments)
    return 0 if agreed else 1


def prepare(source, arguments):
    """The raw root and the lake root of a source, made if they are not there."""
    if arguments.raw:
        raw = arguments.raw.resolve()
    else:
        raw = arguments.work / f"raw-{arguments.scale:g}"
        made = raw / f".{source}.rows"
        if not made.exists():
            shutil.rmtree(raw / source, ignore_errors=True)
            made.write_text(str(generate.generate(source, raw / source, arguments.scale)))
    lake = arguments.work / f"lake-of-{source}"
    command = [arguments.siltstone, "compact", source, "--raw", raw, "--lake", lake, "--partition-by", "none"]
    shutil.rmtree(lake, ignore_errors=True)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return raw, lake


def measure(source, side, raw, lake, arguments):
    """Runs all queries over one side of a source, prints their tables, and tells whether the answers agree."""
    folder = raw / source if side == "raw" else lake / source
    objects = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    if side == "lake":
        objects = [path for path in objects if path.suffix == ".parquet" and not path.relative_to(folder).parts[0].startswith("_")]
    suffix = "".join(objects[0].suffixes[-2:]) if objects[0].suffix == ".gz" else objects[0].suffix
    stored = sum(path.stat().st_size for path in objects)
    print(f"\n## {source}, {side}: {len(objects)} objects, {stored / 1e6:.1f} MB\n")
    print("| query | engine | version | median s | fastest | slowest | times siltstone's | CPU s | peak MB | rows | answer |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    job = {"folder": str(folder), "suffix": suffix, "threads": arguments.threads, "side": side, **SOURCES[source]}
    job["files"] = [str(path) for path in sorted(objects)] if side == "lake" else f"{folder}/**/*{suffix}"
    agreed = True
    for query in arguments.queries:
        results, failures = {engine: [] for engine in arguments.engines}, {}
        for turn in range(arguments.runs + 1):
            for engine in arguments.engines:
                if engine in failures:
                    continue
                try:
                    if engine == "siltstone":
                        result = run_siltstone(source, query, side, raw, lake, arguments)
                    else:
                        result = run_peer({**job, "engine": engine, "query": query})
                except Failure as failure:
                    failures[engine] = str(failure)
                    continue
                if turn > 0 or arguments.runs == 0:
                    results[engine].append(result)
        agreed &= tell(query, results, failures)
    return agreed


def run_siltstone(source, query, side, raw, lake, arguments):
    spec = SOURCES[source]
    sql = statement(query, spec, f'{side}."{source}"', lambda leaf: leaf.lower())
    command = [arguments.siltstone, "sql", sql, "--lake", lake, "--format", "json", "--threads", str(arguments.threads)]
    told, seconds, used = run(command + (["--raw", raw] if side == "raw" else []))
    version = subprocess.run([arguments.siltstone, "--version"], capture_output=True, text=True, check=True).stdout
    answer = normal([list(row.values()) for row in json.loads(told)])
    return {"seconds": seconds, "version": version.split()[-1], "answer": answer, **used}


def run_peer(job):
    environment = {**os.environ, "POLARS_MAX_THREADS": str(job["threads"])}
    told, _, used = run([sys.executable, HERE / "queries.py", "--job", json.dumps(job)], environment)
    result = json.loads(told.splitlines()[-1])
    return {**result, "answer": normal(result["answer"]), **used}


def normal(rows):
    """Rows as text: engines differ in types, order and the last digits."""

    def cell(value):
        if isinstance(value, float):
            return f"{value:.6g}"
        if isinstance(value, int) and not isinstance(value, bool):
            return f"{float(value):.6g}" if abs(value) < 1e6 else str(value)
        return str(value)

    return sorted("\t".join(cell(value) for value in row) for row in rows)


def tell(query, results, failures):
    """Prints the rows of one query, and tells whether the answers agree."""
    median = {name: statistics.median(run["seconds"] for run in runs) for name, runs in results.items() if runs}
    expected, agreed = None, True
    for name, runs in results.items():
        if not runs:
            print(f"| {query} | {name} | failed: {failures.get(name, '')} |")
            continue
        if expected is None:
            # The first engine is the measure of the others.
            expected = runs[0]["answer"]
        same = all(run["answer"] == expected for run in runs)
        agreed &= same
        cells = [
            query,
            name,
            runs[-1]["version"],
            f"{median[name]:.3f}",
            f"{min(run['seconds'] for run in runs):.3f}",
            f"{max(run['seconds'] for run in runs):.3f}",
            f"{median[name] / median['siltstone']:.2f}" if "siltstone" in median else "",
            f"{statistics.median(run['cpu_seconds'] for run in runs):.2f}",
            f"{max(run['peak_bytes'] for run in runs) / 1e6:.0f}",
            str(len(runs[-1]["answer"])),
            "same" if same else f"differs: {difference(expected, runs[-1]['answer'])}",
        ]
        print("| " + " | ".join(cells) + " |")
    sys.stdout.flush()
    return agreed


def difference(expected, found):
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    return f"{len(missing)} missing {missing[:1]}, {len(extra)} more {extra[:1]}"


def statement(query, spec, table, leaf):
    """The query in SQL; `leaf` writes the path of a leaf."""
    if query == "count":
        return f"SELECT count(*) AS n FROM {table}"
    if query == "group":
        return f"SELECT {leaf(spec['group'])} AS k, count(*) AS n FROM {table} GROUP BY {leaf(spec['group'])}"
    if query == "nested":
        by, of = map(leaf, spec["nested"])
        return (
            f"SELECT {by} AS k, avg({of}) AS a FROM {table} WHERE {of} IS NOT NULL GROUP BY {by} "
            "ORDER BY a DESC, k LIMIT 10"
        )
    if query == "filter":
        path, operator, value = spec["filter"]
        columns = ", ".join(f"{leaf(path)} AS c{index}" for index, path in enumerate(spec["project"]))
        return f"SELECT {columns} FROM {table} WHERE {leaf(path)} {operator} {value}"
    path, value = spec["lookup"]
    columns = ", ".join(f"{leaf(path)} AS c{index}" for index, path in enumerate(spec["project"]))
    literal = f"'{value}'" if isinstance(value, str) else str(value)
    return f"SELECT {columns} FROM {table} WHERE {leaf(path)} = {literal}"


def quoted(path, of_side):
    return ".".join('"' + name + '"' for name in of_side(path).split("."))


def duckdb(job):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {job['threads']}")
    reads = f"read_json_auto('{job['files']}')" if job["side"] == "raw" else f"read_parquet({job['files']})"
    sql = statement(job["query"], job, f"{reads} AS t", lambda path: quoted(path, job["of_side"]))
    return connection.execute(sql).fetchall()


def chdb(job):
    import chdb

    settings = {
        "max_threads": job["threads"],
        # Else it refuses objects whose keys differ from row to row.
        "input_format_json_use_string_type_for_ambiguous_paths_in_named_tuples_inference_from_objects": 1,
    }
    if job["side"] == "raw":
        files, form = job["files"], "JSONEachRow"
    else:
        files, form = job["folder"] + "/" + "{" + ",".join(path[len(job["folder"]) + 1 :] for path in job["files"]) + "}", "Parquet"
        files = job["files"][0] if len(job["files"]) == 1 else files
    sql = statement(job["query"], job, f"file('{files}', '{form}')", lambda path: quoted(path, job["of_side"]))
    told = chdb.query(f"{sql} SETTINGS {', '.join(f'{name} = {value}' for name, value in settings.items())}", "JSONCompactEachRow")
    return [json.loads(line) for line in str(told).splitlines()]


def datafusion(job):
    import datafusion

    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(job["threads"]))
    if job["side"] == "raw":
        compression = {"file_compression_type": "gzip"} if job["suffix"].endswith(".gz") else {}
        context.register_json("t", job["folder"], file_extension=job["suffix"], **compression)
    else:
        context.register_parquet("t", job["folder"], file_extension=".parquet")

    def leaf(path):
        first, *rest = job["of_side"](path).split(".")
        return f't."{first}"' + "".join(f"['{name}']" for name in rest)

    batches = context.sql(statement(job["query"], job, "t", leaf)).collect()
    return [list(row.values()) for batch in batches for row in batch.to_pylist()]


def polars(job):
    import polars

    def leaf(path):
        first, *rest = job["of_side"](path).split(".")
        column = polars.col(first)
        for name in rest:
            column = column.struct.field(name)
        return column

    rows = polars.scan_ndjson(job["files"]) if job["side"] == "raw" else polars.scan_parquet(job["files"])
    query = job["query"]
    if query == "count":
        rows = rows.select(polars.len())
    elif query == "group":
        rows = rows.group_by(leaf(job["group"]).alias("k")).agg(polars.len())
    elif query == "nested":
        by, of = map(leaf, job["nested"])
        rows = rows.select(k=by, a=of).filter(polars.col("a").is_not_null()).group_by("k").agg(polars.col("a").mean())
        rows = rows.sort(["a", "k"], descending=[True, False], nulls_last=True).head(10)
    else:
        path, operator, value = job["filter"] if query == "filter" else (job["lookup"][0], "=", job["lookup"][1])
        column = leaf(path)
        passes = {"=": column == value, "<": column < value, ">": column > value}[operator]
        rows = rows.filter(passes).select(**{f"c{index}": leaf(path) for index, path in enumerate(job["project"])})
    return rows.collect(engine="streaming").rows()


def work(job):
    """Runs one query with one peer and tells what came of it."""
    import importlib
    import importlib.metadata
    import time

    importlib.import_module(job["engine"])
    # Columns of tables are in lower case.
    job["of_side"] = str.lower if job["side"] == "lake" else str
    began = time.monotonic()
    answer = {"duckdb": duckdb, "chdb": chdb, "polars": polars, "datafusion": datafusion}[job["engine"]](job)
    seconds = time.monotonic() - began
    version = importlib.metadata.version(job["engine"])
    print(json.dumps({"seconds": seconds, "version": version, "answer": [list(row) for row in answer]}, default=str))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        work(json.loads(sys.argv[2]))
    else:
        sys.exit(main())
