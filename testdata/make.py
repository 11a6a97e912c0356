#!/usr/bin/env python3
"""Writes testdata/raw/: three small raw sources, the same bytes on every run.

    python3 testdata/make.py

Only `Random.random()` is drawn from, because its sequence is promised to stay the same between Python versions while
that of `choice` and `randrange` is not. All data is invented. The folder raw/ is removed first, so that no object of an
earlier version stays behind.
"""

import gzip
import io
import json
import random
import shutil
from datetime import datetime, timedelta, timezone
from pathlib import Path

RAW = Path(__file__).resolve().parent / "raw"


class Dice:
    """A seeded stream of draws."""

    def __init__(self, seed):
        self._random = random.Random(seed).random

    def between(self, low, high):
        """An integer in low..=high."""
        return low + int(self._random() * (high - low + 1))

    def pick(self, choices):
        return choices[self.between(0, len(choices) - 1)]

    def chance(self, probability):
        return self._random() < probability

    def hex(self, digits):
        return "".join(self.pick("0123456789abcdef") for _ in range(digits))

    def sample(self, choices, count):
        """`count` different choices, in the order in which they stand."""
        left = list(range(len(choices)))
        taken = [left.pop(self.between(0, len(left) - 1)) for _ in range(count)]
        return [choices[i] for i in sorted(taken)]


def compact(value, ascii_only=False):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=ascii_only)


def spaced(value):
    return json.dumps(value, ensure_ascii=False)


def pretty(value):
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def gzipped(data):
    """One gzip member without name and time; GzipFile writes the same header under every Python version."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as member:
        member.write(data)
    return out.getvalue()


def decimal(units, digits):
    """The number units / 10^digits; an integer, so printed without a point, where it is whole."""
    whole, rest = divmod(units, 10**digits)
    return whole if rest == 0 else units / 10**digits


def utc(text):
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


def zulu(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def write(key, data):
    path = RAW / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data if isinstance(data, bytes) else data.encode())


# orders: responses of an orders API, an envelope each.

CITIES = [
    ("Berlin", "DE", "EUR"), ("München", "DE", "EUR"), ("Lyon", "FR", "EUR"), ("Zürich", "CH", "CHF"),
    ("Leeds", "GB", "GBP"), ("Łódź", "PL", "PLN"), ("São Paulo", "BR", "BRL"), ("Austin", "US", "USD"),
    ("Portland", "US", "USD"),
]
# Stock keeping unit -> price in hundredths.
PRICES = {
    "MUG-350": 1250, "MUG-500": 1495, "POT-1L": 3900, "POT-2L": 5425, "TEA-ASSAM": 899, "TEA-SENCHA": 1375,
    "TEA-MINT": 600, "SIEVE": 475, "SCALE": 2999, "KETTLE": 8000,
}


def make_customers():
    customers = []
    for i in range(36):
        city, country, currency = CITIES[i % len(CITIES)]
        customer = {"id": 7001 + i, "email": f"customer{i}+shop@example.com"}
        if i % 12 == 5:
            customer["address"], currency = None, "EUR"
        elif i % 12 != 10:
            customer["address"] = {"city": city, "country": country}
        else:
            currency = "EUR"
        customers.append((customer, currency))
    return customers


def make_order(dice, number, created, customers):
    customer, currency = dice.pick(customers)
    lines, goods = [], 0
    for sku in dice.sample(list(PRICES), dice.pick([1, 1, 2, 2, 3, 4])):
        quantity = dice.between(1, 4)
        lines.append({"sku": sku, "quantity": quantity, "unitPrice": decimal(PRICES[sku], 2)})
        goods += quantity * PRICES[sku]
    order = {
        "order-id": f"SO-{100000 + number}",
        "createdAt": zulu(created),
        "customer": customer,
        "lines": lines,
    }
    coupon = dice.pick(["WELCOME10", "FLAT5", "TEATIME"]) if dice.chance(0.25) else None
    if number % 97 == 50:  # A gift card: no lines, a round amount.
        order["lines"], goods, coupon = [], 2500, None
    discount = {None: 0, "WELCOME10": goods // 10, "FLAT5": min(500, goods), "TEATIME": goods // 8}[coupon]
    order["total"] = decimal(goods - discount, 2)
    order["currency"] = currency
    order["status"] = dice.pick(["pending", "paid", "shipped", "shipped", "delivered", "delivered", "cancelled"])
    if coupon or dice.chance(0.5):
        order["coupon"] = coupon
    shipped = order["status"] in ("shipped", "delivered")
    order["shippedOn"] = f"{created + timedelta(days=dice.between(0, 5)):%Y-%m-%d}" if shipped else None
    return order


def make_orders():
    dice = Dice(20250128)
    customers = make_customers()
    number = 0
    for i in range(12):
        asked = utc("2025-01-28T10:00:00") + timedelta(days=i)
        items = []
        if i != 8:
            seconds = sorted(dice.between(0, 86399) for _ in range(dice.between(22, 28)))
            for second in seconds:
                items.append(make_order(dice, number, asked - timedelta(days=1) + timedelta(seconds=second), customers))
                number += 1
        response = {"status": "ok", "data": {"items": items}, "next": None if i == 11 else f"cursor-{dice.hex(12)}"}
        text = pretty(response) if i in (2, 6) else compact(response, ascii_only=i % 2 == 1)
        write(f"orders/{asked:%Y-%m}/{asked:%Y%m%dT%H%M%S}.json", text)


# readings: NDJSON of sensors, gzip'd by various habits.

TAGS = ["indoor", "outdoor", "roof", "calibrated", "low-power"]


def millis(time, hours_ahead):
    """RFC 3339 with milliseconds; `Z`, or the local time of a fixed offset."""
    if hours_ahead == 0:
        return f"{time:%Y-%m-%dT%H:%M:%S}.{time.microsecond // 1000:03}Z"
    local = time + timedelta(hours=hours_ahead)
    return f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond // 1000:03}+{hours_ahead:02}:00"


def make_reading(dice, part, device, time):
    reading = {
        "device": f"sensor-{device:02}",
        "ts": millis(time, 1 if device % 2 == 0 else 0),
        "temperature": None if dice.chance(0.08) else dice.between(-600, 2800) / 100,
        "humidity": decimal(dice.between(250, 950), 1),
        "battery": 100 - 3 * part - device - dice.between(0, 2),
    }
    if not dice.chance(0.15):
        reading["tags"] = dice.sample(TAGS, dice.between(0, 3))
    if dice.chance(0.1):
        reading["position"] = None
    else:
        reading["position"] = {
            "lat": round(52.4 + device / 50 + dice.between(0, 9) / 10000, 4),
            "lon": round(13.1 - device / 40 - dice.between(0, 9) / 10000, 4),
        }
    if part >= 3 and device in (1, 4, 6):
        reading["firmware"] = "3.1-beta"
    elif part == 5 and device == 2:
        reading["firmware"] = "4.0"
    else:
        reading["firmware"] = 2 if device == 8 else 3
    return reading


def make_readings():
    dice = Dice(20250309)
    for part in range(6):
        start = utc("2025-03-07T18:00:00") + timedelta(hours=12 * part)
        lines = []
        for step in range(8):
            for device in range(1, 9):
                time = start + timedelta(minutes=90 * step + 11 * device, milliseconds=dice.between(0, 59999))
                lines.append(compact(make_reading(dice, part, device, time)) + "\n")
        key = f"readings/{start:%Y/%m/%d}/gateway-{part:02}.ndjson"
        if part == 1:  # Two gzip members, cut within a line.
            data = "".join(lines).encode()
            half = len(data) // 2
            write(key + ".gz", gzipped(data[:half]) + gzipped(data[half:]))
        elif part == 2:  # Gzip which only the first bytes tell.
            write(key, gzipped("".join(lines).encode()))
        elif part == 4:  # Plain, with two malformed lines between good ones.
            lines.insert(17, lines[17][:48] + "\n")  # Within the text of ts; the sender retried.
            lines.insert(41, "timeout\n")
            write(key, "".join(lines))
        elif part == 5:  # No newline behind the last record.
            write(key + ".gz", gzipped("".join(lines).rstrip("\n").encode()))
        else:
            write(key + ".gz", gzipped("".join(lines).encode()))


# feed: pages of an event feed, arrays mostly.

ACTORS = ["ada", "brook", "chiyo", "dmitri", "eun-ji", "farah", "gwen", "hugo", "ines"]
# Repository name and the organisation that owns it, if one does.
REPOS = [
    ("quarry/chisel", "quarry"), ("quarry/hammer", "quarry"), ("tidepool/kelp", "tidepool"), ("ada/dotfiles", None),
    ("hugo/notes", None),
]
BRANCHES = ["refs/heads/main", "refs/heads/main", "refs/heads/dev", "refs/heads/release/1.2"]
LABELS = [("bug", "d73a4a"), ("docs", "0075ca"), ("good first issue", "000000"), ("wontfix", "ffffff")]
MESSAGES = [
    "Fix the build", 'Rename "grain" to "clast"', "Release 1.2 \U0001f389", "Add tests\n\nThey failed before.",
    "Größe statt Länge", "Path C:\\silt\\stone", "",
]


def make_payload(dice, kind, page):
    if kind == "PushEvent":
        commits = []
        for _ in range(dice.between(1, 3)):
            author = dice.pick(ACTORS)
            commits.append({"sha": dice.hex(40), "message": dice.pick(MESSAGES), "author": {"name": author}})
        branch = dice.pick(BRANCHES)
        ref = branch if page < 5 else {"name": branch, "kind": "branch"}
        return {"size": len(commits) + dice.pick([0, 0, 0, 20]), "ref": ref, "commits": commits}
    if kind == "IssuesEvent":
        labels = [{"name": name, "color": color} for name, color in dice.sample(LABELS, dice.between(0, 2))]
        issue = {"number": dice.between(1, 400), "title": dice.pick(MESSAGES), "labels": labels}
        return {"action": dice.pick(["opened", "opened", "closed"]), "issue": issue}
    if kind == "PullRequestEvent":
        closed = dice.chance(0.6)
        return {
            "action": "closed" if closed else "opened",
            "number": dice.between(1, 400),
            "merged": dice.chance(0.7) if closed else None,
            "pull_request": {"additions": dice.between(0, 900), "deletions": dice.between(0, 300), "head": None},
        }
    return {} if dice.chance(0.2) else {"action": "started"}


def make_event(dice, number, created, kind, page):
    actor = dice.between(0, len(ACTORS) - 1)
    repo = dice.between(0, len(REPOS) - 1)
    name, org = REPOS[repo]
    event = {
        "id": str(48210000000 + 37 * number),
        "type": kind,
        "actor": {"id": 501 + actor, "login": ACTORS[actor]},
        "repo": {"id": 9000 + repo, "name": name},
        "payload": make_payload(dice, kind, page),
        "public": not dice.chance(0.1),
        "created_at": zulu(created),
    }
    if org:
        event["Org" if page in (4, 5, 8) and dice.chance(0.6) else "org"] = {"id": 70 + len(org), "login": org}
    return event


def make_feed():
    dice = Dice(20250401)
    kinds = ["PushEvent"] * 5 + ["IssuesEvent"] * 2 + ["WatchEvent"] * 2 + ["PullRequestEvent"] * 2
    number = 0
    for page in range(10):
        start = utc("2025-04-01T00:00:00") + timedelta(hours=7 * page)
        events = []
        for _ in range(1 if page == 3 else 20):
            kind = "PushEvent" if page == 3 else dice.pick(kinds)
            created = start + timedelta(minutes=20 * len(events), seconds=dice.between(0, 1199))
            events.append(make_event(dice, number, created, kind, page))
            number += 1
        if page == 3:  # One event that stands alone.
            text = compact(events[0])
        elif page == 7:  # Values one after another.
            text = "".join(compact(event) for event in events)
        elif page in (2, 8):
            text = pretty(events)
        elif page in (1, 6):
            text = spaced(events)
        else:
            text = compact(events, ascii_only=page in (4, 9))
        write(f"feed/{start:%Y-%m-%d}/{start:%H%M%S}-page{page}.json", text)


def main():
    if RAW.exists():
        shutil.rmtree(RAW)
    make_orders()
    make_readings()
    make_feed()


if __name__ == "__main__":
    main()
