#!/usr/bin/env python3
"""Writes queries/<source>/<name>.csv: the answer of each sample query, computed from testdata/raw/ without siltstone.

    python3 testdata/expect.py

Each function below answers the query whose source and name it carries. Numbers are read as they are written in the raw
data and computed exactly, so a sum of doubles in another order cannot make the answer differ: `number` refuses a value
that lies so near to a rounding boundary that it could.
"""

import csv
import gzip
import json
from collections import Counter, defaultdict
from datetime import date, datetime, timezone
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RAW = ROOT / "testdata" / "raw"
QUERIES = ROOT / "queries"

# What make.py is said to write: objects, records, malformed lines.
SIZES = {"orders": (12, 282, 0), "readings": (6, 384, 2), "feed": (10, 181, 0)}

ANSWERS = {}


def answers(source, *header):
    """Marks a function of a source's records as the answer of queries/<source>/<function name>.sql."""

    def register(rows_of):
        ANSWERS[source, rows_of.__name__] = (header, rows_of)
        return rows_of

    return register


# Reading raw.


def parse(text):
    return json.loads(text, parse_float=Decimal)


def values(text):
    """JSON values one after another, whatever stands between them."""
    decoder = json.JSONDecoder(parse_float=Decimal)
    offset = 0
    while offset < len(text):
        value, offset = decoder.raw_decode(text, offset)
        yield value
        while offset < len(text) and text[offset].isspace():
            offset += 1


def order_records(text):
    return parse(text)["data"]["items"], 0


def reading_records(text):
    records, malformed = [], 0
    for line in text.splitlines():
        try:
            records.append(parse(line))
        except json.JSONDecodeError:
            malformed += 1
    return records, malformed


def feed_records(text):
    records = []
    for value in values(text):
        records.extend(value if isinstance(value, list) else [value])
    for record in records:
        if "Org" in record:
            assert "org" not in record
            record["org"] = record.pop("Org")
    return records, 0


def read(source, records_of):
    records, malformed, objects = [], 0, 0
    for path in sorted((RAW / source).rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            if data.startswith(b"\x1f\x8b"):
                data = gzip.decompress(data)
            good, bad = records_of(data.decode())
            records += good
            malformed += bad
            objects += 1
    assert (objects, len(records), malformed) == SIZES[source], (source, objects, len(records), malformed)
    return records


# Values.


def at(value, *path):
    """What lies at the path, or None where something on the way is missing or null."""
    for key in path:
        value = value.get(key) if value is not None else None
    return value


def time(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(timezone.utc)


def second(moment):
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def number(exact, digits=2):
    """round(exact, digits) of a double column, as CSV shows it: 12.5, 12.0."""
    scaled = Fraction(exact) * 10**digits
    assert abs(scaled - (scaled // 1) - Fraction(1, 2)) > Fraction(1, 10**6), f"{exact} is a tie"
    rounded = (Decimal(scaled.numerator) / Decimal(scaled.denominator)).quantize(Decimal(1), ROUND_HALF_UP)
    return repr(float(rounded.scaleb(-digits)) + 0.0)


def mean(numbers):
    return sum(map(Fraction, numbers)) / len(numbers)


def groups(records, key):
    grouped = defaultdict(list)
    for record in records:
        grouped[key(record)].append(record)
    return grouped


# orders


def order_day(order):
    return time(order["createdAt"]).date()


def goods(order):
    return sum(line["quantity"] * line["unitPrice"] for line in order["lines"])


@answers("orders", "country", "currency", "cities", "orders", "revenue")
def revenue_by_country(orders):
    sold = [order for order in orders if order["status"] != "cancelled"]
    by_country = groups(sold, lambda o: (at(o, "customer", "address", "country") or "unknown", o["currency"]))
    for (country, currency), group in sorted(by_country.items()):
        cities = {at(order, "customer", "address", "city") for order in group} - {None}
        yield country, currency, len(cities), len(group), number(sum(order["total"] for order in group))


@answers("orders", "day", "orders", "customers")
def orders_per_day(orders):
    for day, group in sorted(groups(orders, order_day).items()):
        yield day, len(group), len({order["customer"]["id"] for order in group})


@answers("orders", "sku", "pieces", "orders", "goods")
def top_skus(orders):
    lines = [(order["order-id"], line) for order in orders if order["currency"] == "EUR" for line in order["lines"]]
    rows = []
    for sku, group in groups(lines, lambda pair: pair[1]["sku"]).items():
        pieces = sum(line["quantity"] for _, line in group)
        worth = sum(line["quantity"] * line["unitPrice"] for _, line in group)
        rows.append((-worth, sku, pieces, len({order_id for order_id, _ in group})))
    for worth, sku, pieces, count in sorted(rows)[:5]:
        yield sku, pieces, count, number(-worth)


@answers("orders", "coupon", "orders", "discount_percent")
def coupon_discount(orders):
    reduced = [order for order in orders if order.get("coupon")]
    for coupon, group in sorted(groups(reduced, lambda o: o["coupon"]).items()):
        full = sum(Fraction(goods(order)) for order in group)
        paid = sum(Fraction(order["total"]) for order in group)
        yield coupon, len(group), number(100 * (full - paid) / full)


@answers("orders", "days", "orders", "delivered")
def shipping_days(orders):
    shipped = [order for order in orders if order["shippedOn"] is not None]
    by_days = groups(shipped, lambda o: (date.fromisoformat(o["shippedOn"]) - order_day(o)).days)
    for days, group in sorted(by_days.items()):
        yield days, len(group), sum(order["status"] == "delivered" for order in group)


@answers("orders", "day", "revenue", "so_far", "change")
def running_revenue(orders):
    so_far = before = 0
    for day, group in sorted(groups([o for o in orders if o["currency"] == "EUR"], order_day).items()):
        revenue = sum(order["total"] for order in group)
        so_far += revenue
        yield day, number(revenue), number(so_far), number(revenue - before)
        before = revenue


# readings


@answers("readings", "day", "readings", "devices", "temperatures")
def readings_per_day(readings):
    for day, group in sorted(groups(readings, lambda r: time(r["ts"]).date()).items()):
        devices = {reading["device"] for reading in group}
        yield day, len(group), len(devices), sum(reading["temperature"] is not None for reading in group)


@answers("readings", "device", "coldest", "mean", "warmest", "humidity")
def temperature_by_device(readings):
    for device, group in sorted(groups(readings, lambda r: r["device"]).items()):
        warmth = [reading["temperature"] for reading in group if reading["temperature"] is not None]
        humidity = mean([reading["humidity"] for reading in group])
        yield device, number(min(warmth)), number(mean(warmth)), number(max(warmth)), number(humidity)


@answers("readings", "firmware", "readings", "devices", "first_seen", "last_seen")
def firmware_versions(readings):
    for firmware, group in sorted(groups(readings, lambda r: str(r["firmware"])).items()):
        times = [time(reading["ts"]) for reading in group]
        yield firmware, len(group), len({r["device"] for r in group}), second(min(times)), second(max(times))


@answers("readings", "tag", "readings", "devices")
def tag_counts(readings):
    tagged = [(tag, reading["device"]) for reading in readings for tag in reading.get("tags", [])]
    rows = [(-len(g), tag, len({device for _, device in g})) for tag, g in groups(tagged, lambda p: p[0]).items()]
    for count, tag, devices in sorted(rows):
        yield tag, -count, devices


@answers("readings", "tags", "readings")
def tags_per_reading(readings):
    yield from sorted(Counter(len(reading.get("tags", [])) for reading in readings).items())


@answers("readings", "device", "seen", "lat", "lon", "battery")
def last_known_position(readings):
    placed = [reading for reading in readings if at(reading, "position", "lat") is not None]
    for device, group in sorted(groups(placed, lambda r: r["device"]).items()):
        last = max(group, key=lambda r: time(r["ts"]))
        lat, lon = last["position"]["lat"], last["position"]["lon"]
        yield device, second(time(last["ts"])), number(lat, 4), number(lon, 4), last["battery"]


# feed


@answers("feed", "type", "events", "actors", "percent")
def events_by_type(feed):
    by_type = groups(feed, lambda e: e["type"])
    rows = [(-len(group), kind, len({event["actor"]["id"] for event in group})) for kind, group in by_type.items()]
    for count, kind, actors in sorted(rows):
        yield kind, -count, actors, number(Fraction(100 * -count, len(feed)))


@answers("feed", "org", "events", "public_events", "days")
def events_by_org(feed):
    rows = []
    for org, group in groups(feed, lambda e: at(e, "org", "login") or "none").items():
        days = {time(event["created_at"]).date() for event in group}
        rows.append((-len(group), org, sum(event["public"] for event in group), len(days)))
    for count, org, public, days in sorted(rows):
        yield org, -count, public, days


@answers("feed", "author", "commits", "pushes", "repos", "message_characters")
def commit_authors(feed):
    commits = [(event, commit) for event in feed for commit in event["payload"].get("commits", [])]
    rows = []
    for author, group in groups(commits, lambda pair: pair[1]["author"]["name"]).items():
        pushes = {event["id"] for event, _ in group}
        repos = {event["repo"]["name"] for event, _ in group}
        rows.append((-len(group), author, len(pushes), len(repos), sum(len(commit["message"]) for _, commit in group)))
    for count, author, *rest in sorted(rows):
        yield author, -count, *rest


@answers("feed", "label", "color", "opened", "closed")
def issue_labels(feed):
    opened, closed = Counter(), Counter()
    for event in feed:
        for label in at(event, "payload", "issue", "labels") or []:
            counter = {"opened": opened, "closed": closed}[event["payload"]["action"]]
            counter[label["name"], label["color"]] += 1
    for name, color in sorted(opened.keys() | closed.keys()):
        yield name, color, opened[name, color], closed[name, color]


@answers("feed", "repo", "pull_requests", "merged", "lines_added", "place")
def merged_pull_requests(feed):
    seen = groups([e for e in feed if e["type"] == "PullRequestEvent"], lambda e: e["repo"]["name"])
    rows = []
    for repo, group in seen.items():
        merged = [event["payload"]["pull_request"]["additions"] for event in group if event["payload"]["merged"]]
        rows.append((-sum(merged), repo, len(group), len(merged)))
    for added, repo, count, merged in sorted(rows):
        yield repo, count, merged, -added, 1 + sum(row[0] < added for row in rows)


@answers("feed", "branch", "pushes", "as_object", "object_texts")
def pushes_by_branch(feed):
    pushes, texts = Counter(), defaultdict(list)
    for event in feed:
        ref = event["payload"].get("ref")
        if ref is not None:
            branch = ref["name"] if isinstance(ref, dict) else ref
            pushes[branch] += 1
            if isinstance(ref, dict):
                texts[branch].append(json.dumps(ref, separators=(",", ":")))
    for branch, count in sorted(pushes.items()):
        yield branch, count, len(texts[branch]), len(set(texts[branch]))


def main():
    records = {
        "orders": read("orders", order_records),
        "readings": read("readings", reading_records),
        "feed": read("feed", feed_records),
    }
    asked = {(path.parent.name, path.stem) for path in QUERIES.glob("*/*.sql")}
    assert asked == ANSWERS.keys(), asked ^ ANSWERS.keys()
    for (source, name), (header, rows_of) in ANSWERS.items():
        with open(QUERIES / source / f"{name}.csv", "w", encoding="utf-8", newline="") as out:
            writer = csv.writer(out, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows_of(records[source]))


if __name__ == "__main__":
    main()
