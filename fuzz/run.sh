#!/usr/bin/env bash
# Fuzzes one target for some time; prints at the end how many inputs were run and what was found.
#   fuzz/run.sh records 1200
# What it learns stays in fuzz/work, findings in fuzz/artifacts. SANITIZER=address is ten times slower.
set -euo pipefail
cd "$(dirname "$0")"
target=${1:?which target: records or merge} seconds=${2:?how many seconds}
build=(--fuzz-dir . --sanitizer "${SANITIZER:-none}" --no-trace-compares)

work=work/$target artifacts=artifacts/$target
log=$work.log
mkdir -p "$work" "$artifacts"
started=$(mktemp)
trap 'rm -f "$started"' EXIT

cargo +nightly fuzz build "${build[@]}" "$target"
status=0
cargo +nightly fuzz run "${build[@]}" "$target" "$work" "corpus/$target" -- \
    -dict=json.dict -max_len=1024 -timeout=25 -max_total_time="$seconds" -print_final_stats=1 2>&1 |
    tee "$log" | grep -a --line-buffered -E 'panicked|ERROR|pulse' || status=$?

executed=$(grep -a -o 'stat::number_of_executed_units: *[0-9]*' "$log" | grep -o '[0-9]*$' || echo 0)
covered=$(grep -a -o 'cov: [0-9]*' "$log" | tail -n 1)
findings=$(find "$artifacts" -type f -newer "$started")
echo "$target: $executed executions, ${covered:-cov: 0}, $(grep -c . <<<"$findings" || true) findings"
if [ -n "$findings" ]; then
    grep -a -A 2 -E 'panicked at|ERROR: ' "$log" || true
    echo "$findings"
    exit 1
fi
