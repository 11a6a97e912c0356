"""The peers: each turns raw JSON into zstd-3 Parquet, partitioned by day when a column is named.

compare.py runs this file as a process of its own for each run: it takes a job as JSON and tells as JSON how long the
work took, without the start of Python and the import of the peer.
"""

import importlib
import importlib.metadata
import json
import os
import pathlib
import sys
import time


def duckdb(job):
    import duckdb

    connection = duckdb.connect()
    connection.execute(f"SET threads = {job['threads']}")
    # The order of rows need not be kept; without that, memory is bounded.
    connection.execute("SET preserve_insertion_order = false")
    columns, options = "*", "FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 3"
    if job["day_of"]:
        columns, options = f"*, CAST({quoted(job['day_of'])} AS DATE) AS day", f"{options}, PARTITION_BY (day)"
    else:
        options += ", PER_THREAD_OUTPUT true"
    connection.execute(f"COPY (SELECT {columns} FROM read_json_auto('{job['files']}')) TO '{job['out']}' ({options})")


def polars(job):
    import polars

    rows = polars.scan_ndjson(job["files"])
    if job["day_of"]:
        rows = rows.with_columns(day=polars.col(job["day_of"]).str.slice(0, 10))
        target = polars.PartitionBy(job["out"], key="day", include_key=False)
    else:
        target = polars.PartitionBy(job["out"], max_rows_per_file=1 << 20)
    rows.sink_parquet(target, compression="zstd", compression_level=3, mkdir=True)


def chdb(job):
    import chdb

    os.makedirs(job["out"], exist_ok=True)
    target, by, columns = f"{job['out']}/all.parquet", "", "*"
    if job["day_of"]:
        target, by = f"{job['out']}/day={{_partition_id}}/all.parquet", "PARTITION BY day"
        columns = f"*, substring(toString({quoted(job['day_of'])}), 1, 10) AS day"
    settings = {
        "max_threads": job["threads"],
        "output_format_parquet_compression_method": "'zstd'",
        "output_format_compression_level": 3,
        # Else it refuses objects whose keys differ from row to row.
        "input_format_json_use_string_type_for_ambiguous_paths_in_named_tuples_inference_from_objects": 1,
    }
    chdb.query(
        f"INSERT INTO FUNCTION file('{target}', 'Parquet') {by} SELECT {columns} FROM file('{job['files']}', 'JSONEachRow') "
        f"SETTINGS {', '.join(f'{name} = {value}' for name, value in settings.items())}"
    )


def datafusion(job):
    import datafusion

    context = datafusion.SessionContext(datafusion.SessionConfig().with_target_partitions(job["threads"]))
    compression = {"file_compression_type": "gzip"} if job["suffix"].endswith(".gz") else {}
    context.register_json("raw", job["folder"], file_extension=job["suffix"], **compression)
    columns, by = "*", ""
    if job["day_of"]:
        columns, by = f"*, substr(CAST({quoted(job['day_of'])} AS VARCHAR), 1, 10) AS day", "PARTITIONED BY (day)"
    options = "('format.compression' 'zstd(3)')"
    context.sql(f"COPY (SELECT {columns} FROM raw) TO '{job['out']}/' STORED AS PARQUET {by} OPTIONS {options}").collect()


PEERS = {"duckdb": duckdb, "polars": polars, "chdb": chdb, "datafusion": datafusion}


def quoted(name):
    """A column's name in SQL."""
    return '"' + name.replace('"', '""') + '"'


def written(out):
    """Bytes and rows of the data files below a folder; hidden folders hold no data."""
    import pyarrow.parquet

    root = pathlib.Path(out)
    paths = [path for path in root.rglob("*.parquet") if not path.relative_to(root).parts[0].startswith("_")]
    return {
        "bytes": sum(path.stat().st_size for path in paths),
        "rows": sum(pyarrow.parquet.read_metadata(path).num_rows for path in paths),
    }


def main():
    job = json.loads(sys.argv[1])
    if job["engine"] == "written":
        print(json.dumps(written(job["out"])))
        return
    importlib.import_module(job["engine"])
    began = time.monotonic()
    PEERS[job["engine"]](job)
    print(json.dumps({"seconds": time.monotonic() - began, "version": importlib.metadata.version(job["engine"])}))


if __name__ == "__main__":
    main()
