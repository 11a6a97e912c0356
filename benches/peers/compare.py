#!/usr/bin/env python3
"""siltstone beside its peers, in one run: raw JSON in, zstd-3 Parquet partitioned by day out.

    python3 -m venv target/peers && target/peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release
    target/peers/bin/python benches/peers/compare.py

Makes its raw data itself (see generate.py), or takes `--raw DIR`, a folder with a folder per source. Each engine runs as
a process of its own on the same cores, in turns (A B C, A B C, ...), so that whatever else the machine does befalls all of
them; the first turn warms up and does not count. Prints a table for each source: median, fastest and slowest time,
bytes of raw objects per second, the ratio of medians, seconds on cores of all threads, the highest memory, bytes and rows
written. Peers are timed from after their import, siltstone from the start of its process to its end; seconds on cores and
memory are those of whole processes, with Python for the peers.

Exits with 1 when an engine that finished wrote another number of rows than it should.
"""

import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import generate

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = ("duckdb", "polars", "chdb", "datafusion")


def parse():
    parser = parser_of(__doc__, PEERS)
    parser.add_argument("--sources", nargs="+", help="default: all of generate.py, or all below --raw")
    parser.add_argument("--scale", type=float, default=1.0, help="of the raw data that is made; 1: 290 MB of events")
    parser.add_argument("--raw", type=pathlib.Path, help="a raw root to measure instead")
    parser.add_argument("--day-of", help="with --raw: the column whose day partitions the output; default: no partitions")
    return parser.parse_args()


def parser_of(description, peers):
    """A parser of the arguments that every comparison with these peers takes."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--siltstone", type=pathlib.Path, default=ROOT / "target/release/siltstone", help="the binary")
    parser.add_argument("--engines", nargs="+", choices=("siltstone", *peers), default=["siltstone", *peers])
    parser.add_argument("--threads", type=int, default=2, help="cores, and threads of each engine")
    parser.add_argument("--runs", type=int, default=5, help="runs of each engine that count")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target/peers-work", help="a scratch folder")
    return parser


def begin(arguments):
    """Holds all engines to the same cores, and prints what they run on."""
    arguments.work = arguments.work.resolve()
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < arguments.threads:
        sys.exit(f"there are only {len(cores)} cores")
    if "siltstone" in arguments.engines and not arguments.siltstone.exists():
        sys.exit(f"{arguments.siltstone} is not there: cargo build --release, or --siltstone")
    # Inherited by all engines.
    os.sched_setaffinity(0, cores[: arguments.threads])
    print(f"{machine()}; {arguments.threads} threads; {arguments.runs} runs")


def main():
    arguments = parse()
    begin(arguments)
    agreed = True
    for source in sources(arguments):
        agreed &= measure(source, arguments)
    return 0 if agreed else 1


def machine():
    """The processor's name."""
    info = pathlib.Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def sources(arguments):
    """The sources to measure: name, raw root, column to partition by, and records (None: unknown)."""
    if arguments.raw:
        raw = arguments.raw.resolve()
        names = arguments.sources or sorted(path.name for path in raw.iterdir() if path.is_dir())
        for name in names:
            yield {"name": name, "raw": raw, "day_of": arguments.day_of, "rows": None}
        return
    raw = arguments.work / f"raw-{arguments.scale:g}"
    for name in arguments.sources or generate.KINDS:
        made = raw / f".{name}.rows"
        if not made.exists():
            shutil.rmtree(raw / name, ignore_errors=True)
            rows = generate.generate(name, raw / name, arguments.scale)
            made.write_text(str(rows))
        yield {"name": name, "raw": raw, "day_of": "created_at", "rows": int(made.read_text())}


def measure(source, arguments):
    """Runs all engines over a source, prints the table, and tells whether their rows agree."""
    folder = source["raw"] / source["name"]
    objects = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    # Peers tell compression by the name, and take one kind of files at a time.
    suffixes = {"".join(path.suffixes[-2:] if path.suffix == ".gz" else path.suffixes[-1:]) for path in objects}
    if len(suffixes) != 1:
        print(f"\n## {source['name']}: passed over, it has {' and '.join(sorted(suffixes)) or 'no'} objects")
        return True
    (suffix,) = suffixes
    job = {"folder": str(folder), "suffix": suffix, "files": f"{folder}/**/*{suffix}", "threads": arguments.threads}
    results, failures = {engine: [] for engine in arguments.engines}, {}
    for turn in range(arguments.runs + 1):
        for engine in arguments.engines:
            if engine in failures:
                continue
            out = arguments.work / "out" / engine
            shutil.rmtree(out, ignore_errors=True)
            out.parent.mkdir(parents=True, exist_ok=True)
            try:
                if engine == "siltstone":
                    result = run_siltstone(source, out, arguments)
                    out = out / source["name"]
                else:
                    told, used = run_python({**job, "engine": engine, "out": str(out), "day_of": source["day_of"]})
                    result = told | used
                # In a process of its own: a child begins with the peak of memory that its parent has.
                result |= run_python({"engine": "written", "out": str(out)})[0]
            except Failure as failure:
                failures[engine] = str(failure)
                continue
            if turn > 0:
                results[engine].append(result)
    shutil.rmtree(arguments.work / "out", ignore_errors=True)
    raw_bytes = sum(path.stat().st_size for path in objects)
    print(f"\n## {source['name']}: {len(objects)} objects, {raw_bytes / 1e6:.1f} MB\n")
    return tell(source, raw_bytes, results, failures)


class Failure(Exception):
    """An engine did not finish."""


def run_siltstone(source, out, arguments):
    partitions = f"day({source['day_of']})" if source["day_of"] else "none"
    command = [arguments.siltstone, "compact", source["name"], "--raw", source["raw"], "--lake", out]
    command += ["--partition-by", partitions, "--threads", str(arguments.threads), "--output", "json"]
    told, seconds, used = run(command)
    if json.loads(told)["status"] != "SUCCESS":
        raise Failure(told.strip()[-200:])
    version = subprocess.run([arguments.siltstone, "--version"], capture_output=True, text=True, check=True).stdout
    return {"seconds": seconds, "version": version.split()[-1], **used}


def run_python(job):
    """Runs engines.py: what it told, and what it used."""
    environment = {**os.environ, "POLARS_MAX_THREADS": str(job.get("threads", 1))}
    told, _, used = run([sys.executable, HERE / "engines.py", json.dumps(job)], environment)
    return json.loads(told.splitlines()[-1]), used


def run(command, environment=None):
    """Runs a process: what it wrote to stdout, seconds, and what it used."""
    with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as complaints:
        began = time.monotonic()
        process = subprocess.Popen(command, env=environment, stdout=told, stderr=complaints)
        # Unlike Popen.wait, this tells what the process used.
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        complaints.seek(0)
        if process.returncode != 0:
            last = complaints.read().decode(errors="replace").strip().splitlines()[-1:]
            raise Failure(f"exit {process.returncode}: {' '.join(last)[:200]}")
        used = {"cpu_seconds": usage.ru_utime + usage.ru_stime, "peak_bytes": usage.ru_maxrss * 1024}
        return told.read().decode(), seconds, used


def tell(source, raw_bytes, results, failures):
    """Prints the table and tells whether the rows agree."""
    print("| engine | version | median s | fastest | slowest | MB/s | times siltstone's | CPU s | peak MB | out MB | rows |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    median = {name: statistics.median(run["seconds"] for run in runs) for name, runs in results.items() if runs}
    expected, agreed = source["rows"], True
    for name, runs in results.items():
        if not runs:
            print(f"| {name} | failed: {failures.get(name, '')} |")
            continue
        rows = {run["rows"] for run in runs}
        if expected is None:
            # The first engine is the measure of the others.
            expected = min(rows)
        agreed &= rows == {expected}
        ratio = f"{median[name] / median['siltstone']:.2f}" if "siltstone" in median else ""
        cells = [
            name,
            runs[-1]["version"],
            f"{median[name]:.2f}",
            f"{min(run['seconds'] for run in runs):.2f}",
            f"{max(run['seconds'] for run in runs):.2f}",
            f"{raw_bytes / median[name] / 1e6:.0f}",
            ratio,
            f"{statistics.median(run['cpu_seconds'] for run in runs):.2f}",
            f"{max(run['peak_bytes'] for run in runs) / 1e6:.0f}",
            f"{statistics.median(run['bytes'] for run in runs) / 1e6:.1f}",
            ", ".join(map(str, sorted(rows))) + ("" if rows == {expected} else f" (expected {expected})"),
        ]
        print("| " + " | ".join(cells) + " |")
    sys.stdout.flush()
    return agreed


if __name__ == "__main__":
    sys.exit(main())
