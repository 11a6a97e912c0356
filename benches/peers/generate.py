#!/usr/bin/env python3
"""Raw data for compare.py: events of a web site, the same bytes on every run and with every version of Python.

    generate.py KIND FOLDER [--scale S]

| kind      | at scale 1                                        |
|-----------|---------------------------------------------------|
| events    | 16 objects, NDJSON, 310,400 records, 290 MB |
| events-gz | the same, gzip level 6                            |
| small     | 10,000 objects, NDJSON, 2 records each            |

All chance comes from hashes of the number of a record, not from `random`, whose sequences may change.
"""

import argparse
import gzip
import hashlib
import pathlib

KINDS = ("events", "events-gz", "small")
SYLLABLES = ("ka", "lo", "mi", "ren", "su", "ta", "vel", "o", "pin", "dra", "sh", "er", "qua", "bo", "ni", "zu")
TYPES = ("page_view", "page_view", "page_view", "page_view", "click", "click", "order", "search")
ITEM_COUNTS = (0, 1, 1, 1, 1, 2, 2, 3)


def word(number):
    """The word of a number: syllables, longer for larger numbers."""
    text, number = "", number + 16
    while number:
        text += SYLLABLES[number % 16]
        number //= 16
    return text


WORDS = [word(number) for number in range(5000)]


class Chance:
    """Numbers that follow from a name."""

    def __init__(self, name):
        self.name, self.block, self.bits, self.left = name, 0, 0, 0

    def below(self, limit):
        """A number less than `limit`, which is at most 2^32."""
        if self.left < 64:
            digest = hashlib.blake2b(f"{self.name}/{self.block}".encode()).digest()
            self.block, self.bits, self.left = self.block + 1, int.from_bytes(digest, "little"), 512
        drawn = self.bits & 0xFFFFFFFFFFFFFFFF
        self.bits >>= 64
        self.left -= 64
        return drawn % limit

    def hash(self):
        """40 hex digits."""
        self.block += 1
        return hashlib.sha1(f"{self.name}/{self.block}".encode()).hexdigest()

    def words(self, count):
        return " ".join(WORDS[self.below(5000)] for _ in range(count))


def item(chance):
    maker = WORDS[chance.below(5000)]
    return (
        f'{{"sku":"{chance.hash()}","maker":{{"mail":"{maker}@example.com","name":"{WORDS[chance.below(5000)]}"}}'
        f',"title":"{chance.words(3 + chance.below(13))}","gift":{"true" if chance.below(10) == 0 else "false"}'
        ',"url":"https://api.example.com/items/x"}'
    )


def event(number):
    """The JSON text of one event; its time lies within one week."""
    chance = Chance(number)
    below = chance.below
    user, site, second = min(below(2_000_000), below(2_000_000)), below(700), below(7 * 86_400)
    login = WORDS[user % 5000]
    time = f"2025-02-{3 + second // 86_400:02}T{second // 3600 % 24:02}:{second // 60 % 60:02}:{second % 60:02}"
    text = (
        f'{{"id":"{10_000_000_000 + number}","type":"{TYPES[below(8)]}","created_at":"{time}.{below(1000):03}Z"'
        f',"public":true,"actor":{{"id":{user},"login":"{login}","group":""'
        f',"url":"https://api.example.com/users/{login}","picture":"https://pictures.example.com/u/{user}?"}}'
        f',"site":{{"id":{site * 7919},"name":"{WORDS[site]}/{WORDS[site * 3]}"'
        f',"url":"https://api.example.com/sites/{WORDS[site]}"}}'
        f',"payload":{{"order_id":{500_000_000 + number},"size":{1 + below(5)},"ref":"heads/{WORDS[below(3)]}"'
        f',"digest":"{chance.hash()}","before":"{chance.hash()}"'
        f',"items":[{",".join(item(chance) for _ in range(ITEM_COUNTS[below(8)]))}]}}'
        f',"metrics":{{"temperature":{below(40)}.{below(100):02},"humidity":{below(100)}.{below(10)}'
        f',"battery":0.{below(1 << 32):010}{1 + below(9)},"latency_ms":{1 + below(2000)}}}'
    )
    if below(10) < 3:
        text += f',"org":{{"id":{user},"login":"{WORDS[user % 777]}"}}'
    if below(20) == 0:
        text += f',"tags":["{WORDS[below(100)]}","{WORDS[below(100)]}"]'
    return text + "}"


def generate(kind, folder, scale=1.0):
    """Writes the objects of a kind into `folder` and gives the number of records."""
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "small":
        objects, each = max(1, round(10_000 * scale)), 2
    else:
        objects, each = 16, max(1, round(19_400 * scale))
    for index in range(objects):
        lines = "".join(event(number) + "\n" for number in range(index * each, (index + 1) * each)).encode()
        if kind == "events-gz":
            (folder / f"{index:06}.json.gz").write_bytes(gzip.compress(lines, 6, mtime=0))
        else:
            (folder / f"{index:06}.json").write_bytes(lines)
    return objects * each


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=KINDS)
    parser.add_argument("folder")
    parser.add_argument("--scale", type=float, default=1.0)
    arguments = parser.parse_args()
    print(generate(arguments.kind, arguments.folder, arguments.scale), "records")
