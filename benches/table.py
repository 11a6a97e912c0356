#!/usr/bin/env python3
"""The results of the last `cargo bench` as a table in Markdown: median times, and JSON megabytes (10^6 bytes) per second.

usage: benches/table.py [TARGET_FOLDER]   (default: $CARGO_TARGET_DIR or target)
"""

import json
import os
import pathlib
import sys

GROUPS = ("feed", "scan", "decode", "observe", "split", "encode", "end_to_end", "floor")


def results(folder):
    """Group, name, nanoseconds and bytes of each benchmark."""
    for path in folder.glob("criterion/**/new/estimates.json"):
        benchmark = json.loads((path.parent / "benchmark.json").read_text())
        median = json.loads(path.read_text())["median"]["point_estimate"]
        yield benchmark["group_id"], benchmark["function_id"], median, benchmark["throughput"]["Bytes"]


def main():
    target = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("CARGO_TARGET_DIR", "target")
    found = sorted(results(pathlib.Path(target)), key=lambda result: (GROUPS.index(result[0]), result[2]))
    print("| benchmark | ms | MB/s |\n|---|---|---|")
    for group, name, nanoseconds, size_bytes in found:
        rate = size_bytes / nanoseconds * 1e3
        print(f"| `{group}/{name}` | {nanoseconds / 1e6:,.{2 if nanoseconds < 1e7 else 0}f} | {rate:,.0f} |")


if __name__ == "__main__":
    main()
