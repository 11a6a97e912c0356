#!/usr/bin/env bash
# From raw JSON to an answer: builds the release binary, compacts testdata/raw into a lake, queries it.
# usage: examples/quickstart.sh [LAKE]   (default: a new temporary folder)
set -euo pipefail
cd "$(dirname "$0")/.."
lake=${1:-$(mktemp -d)/lake}

cargo build --release --quiet
siltstone=${CARGO_TARGET_DIR:-target}/release/siltstone

"$siltstone" compact --raw testdata/raw --lake "$lake"
echo
cat queries/orders/revenue_by_country.sql
"$siltstone" sql -f queries/orders/revenue_by_country.sql --raw testdata/raw --lake "$lake"
echo "The lake is in $lake"
