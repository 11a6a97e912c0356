//! The data that is measured: made here, the same bytes on every run, so that no data set has to be at hand.

use std::fmt::Write as _;

/// Appends formatted text. Writing to a `String` cannot fail.
macro_rules! push {
    ($out:expr, $($arg:tt)*) => {
        write!($out, $($arg)*).unwrap()
    };
}

/// What records look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Eight scalars of mixed types.
    Flat,
    /// Events of a web site: nested objects, an array of objects, times, hashes, addresses; about 900 bytes each.
    Nested,
    /// 12 of 300 keys.
    Wide,
    /// Text with escapes and beyond ASCII.
    Strings,
    /// Integers and fractions, also negative and with exponents.
    Numbers,
    /// Four columns of integers.
    Integers,
    /// Four columns of doubles with two, five and seventeen digits.
    Doubles,
    /// Four columns of times.
    Timestamps,
    /// Four columns of strings with few values.
    FewStrings,
    /// Four columns of strings that never come again.
    UniqueStrings,
}

impl Shape {
    /// The name in reports.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Nested => "nested",
            Self::Wide => "wide",
            Self::Strings => "strings",
            Self::Numbers => "numbers",
            Self::Integers => "integers",
            Self::Doubles => "doubles",
            Self::Timestamps => "timestamps",
            Self::FewStrings => "few_strings",
            Self::UniqueStrings => "unique_strings",
        }
    }

    /// NDJSON of exactly `size_bytes`; newlines fill what the last record leaves. `first` numbers the first record, and
    /// other numbers give other records.
    pub(crate) fn ndjson(self, first: u64, size_bytes: usize) -> Vec<u8> {
        let mut random = Random(first ^ 0x5117_5704);
        let mut out = String::with_capacity(size_bytes + 4096);
        let mut end = 0;
        for number in first.. {
            self.record(&mut random, number, &mut out);
            out.push('\n');
            if out.len() > size_bytes {
                break;
            }
            end = out.len();
        }
        let mut bytes = out.into_bytes();
        bytes.truncate(end);
        bytes.resize(size_bytes, b'\n');
        bytes
    }

    /// `count` objects of one array of `records` records each, as functions store the answers of an API.
    pub(crate) fn arrays(self, count: u64, records: u64) -> Vec<Vec<u8>> {
        let object = |object: u64| {
            let mut random = Random(object ^ 0x5117_5704);
            let mut out = "[".to_owned();
            for record in 0..records {
                out.push_str(if record > 0 { "," } else { "" });
                self.record(&mut random, object * records + record, &mut out);
            }
            out.push(']');
            out.into_bytes()
        };
        (0..count).map(object).collect()
    }

    fn record(self, random: &mut Random, number: u64, out: &mut String) {
        match self {
            Self::Flat => flat(random, number, out),
            Self::Nested => event(random, number, out),
            Self::Wide => wide(random, number, out),
            Self::Strings => strings(random, out),
            Self::Numbers => numbers(random, out),
            Self::Integers => four(out, |column, out| match column {
                0 => push!(out, "{number}"),
                1 => push!(out, "{}", random.below(100)),
                2 => push!(out, "{}", random.below(1_000_000) as i64 - 500_000),
                _ => push!(out, "{}", random.next() >> 12),
            }),
            Self::Doubles => four(out, |column, out| match column {
                0 => push!(out, "{}.{:02}", random.below(100_000), random.below(100)),
                1 => push!(out, "-{}.{:05}", random.below(180), random.below(100_000)),
                _ => push!(out, "{}", random.fraction()),
            }),
            Self::Timestamps => four(out, |column, out| {
                out.push('"');
                let second = if column == 0 { number } else { random.below(1 << 30) };
                time(random, second, out);
                out.push('"');
            }),
            Self::FewStrings => four(out, |column, out| push!(out, "\"{}\"", random.word(10 << (2 * column)))),
            Self::UniqueStrings => four(out, |column, out| {
                out.push('"');
                hex(random, 16 + 8 * column, out);
                out.push('"');
            }),
        }
    }
}

/// A small generator of random numbers (SplitMix64: Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number less than `limit`.
    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// A number from 0 to 1.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// One of `vocabulary` words; the first are the most frequent.
    fn word(&mut self, vocabulary: u64) -> String {
        let rank = self.below(vocabulary).min(self.below(vocabulary));
        word(rank)
    }
}

/// The word of a number: syllables, longer for larger numbers.
fn word(mut number: u64) -> String {
    const SYLLABLES: [&str; 16] =
        ["ka", "lo", "mi", "ren", "su", "ta", "vel", "o", "pin", "dra", "sh", "er", "qua", "bo", "ni", "zu"];
    let mut text = String::new();
    number += 16;
    while number > 0 {
        text.push_str(SYLLABLES[(number % 16) as usize]);
        number /= 16;
    }
    text
}

fn hex(random: &mut Random, digits: usize, out: &mut String) {
    for _ in 0..digits.div_ceil(16) {
        push!(out, "{:016x}", random.next());
    }
    out.truncate(out.len() - (16 - digits % 16) % 16);
}

/// A time in the week from 2025-02-03 on.
fn time(random: &mut Random, second: u64, out: &mut String) {
    let (day, hour, minute, second) = (second / 86_400 % 7 + 3, second / 3600 % 24, second / 60 % 60, second % 60);
    push!(out, "2025-02-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", random.below(1000));
}

/// Words, a space between them.
fn words(random: &mut Random, count: u64, out: &mut String) {
    for index in 0..count {
        push!(out, "{}{}", if index > 0 { " " } else { "" }, random.word(5000));
    }
}

fn four(out: &mut String, mut value: impl FnMut(usize, &mut String)) {
    for (column, key) in ["a", "b", "c", "d"].into_iter().enumerate() {
        push!(out, "{}\"{key}\":", if column == 0 { '{' } else { ',' });
        value(column, out);
    }
    out.push('}');
}

fn flat(random: &mut Random, number: u64, out: &mut String) {
    push!(out, "{{\"id\":{number},\"name\":\"{}\",\"city\":\"{}\"", random.word(5000), random.word(200));
    push!(out, ",\"amount\":{}.{:02},\"count\":{}", random.below(1000), random.below(100), random.below(20));
    push!(out, ",\"active\":{},\"created_at\":\"", random.below(4) > 0);
    let second = random.below(7 * 86_400);
    time(random, second, out);
    out.push_str("\",\"note\":");
    if random.below(3) == 0 {
        out.push('"');
        words(random, 5, out);
        out.push_str("\"}");
    } else {
        out.push_str("null}");
    }
}

fn event(random: &mut Random, number: u64, out: &mut String) {
    const TYPES: [&str; 6] = ["page_view", "page_view", "page_view", "click", "order", "search"];
    let (user, site) = (random.below(2_000_000).min(random.below(2_000_000)), random.below(700));
    let login = word(user % 5000);
    push!(out, "{{\"id\":\"{}\",\"type\":\"{}\"", 10_000_000_000 + number, TYPES[random.below(6) as usize]);
    out.push_str(",\"created_at\":\"");
    let second = random.below(7 * 86_400);
    time(random, second, out);
    push!(out, "\",\"public\":true,\"actor\":{{\"id\":{user},\"login\":\"{login}\",\"group\":\"\"");
    push!(out, ",\"url\":\"https://api.example.com/users/{login}\"");
    push!(out, ",\"picture\":\"https://pictures.example.com/u/{user}?\"}}");
    push!(out, ",\"site\":{{\"id\":{},\"name\":\"{}/{}\"", site * 7919, word(site), word(site * 3));
    push!(out, ",\"url\":\"https://api.example.com/sites/{}\"}}", word(site));
    push!(out, ",\"payload\":{{\"order_id\":{},\"size\":{}", 500_000_000 + number, random.below(5) + 1);
    push!(out, ",\"ref\":\"heads/{}\",\"digest\":\"", ["main", "next", "old"][random.below(3) as usize]);
    hex(random, 40, out);
    out.push_str("\",\"before\":\"");
    hex(random, 40, out);
    out.push_str("\",\"items\":[");
    for index in 0..[0, 1, 1, 1, 2, 3][random.below(6) as usize] {
        out.push_str(if index > 0 { ",{\"sku\":\"" } else { "{\"sku\":\"" });
        hex(random, 40, out);
        push!(out, "\",\"maker\":{{\"mail\":\"{}@example.com\",\"name\":", random.word(5000));
        push!(out, "\"{}\"}},\"title\":\"", random.word(5000));
        let count = random.below(13) + 3;
        words(random, count, out);
        push!(out, "\",\"gift\":{},\"url\":\"https://api.example.com/items/x\"}}", random.below(10) == 0);
    }
    out.push(']');
    if random.below(10) == 0 {
        out.push_str(",\"description\":null");
    }
    push!(out, "}},\"metrics\":{{\"temperature\":{}.{:02}", random.below(40), random.below(100));
    push!(out, ",\"humidity\":{}.{}", random.below(100), random.below(10));
    push!(out, ",\"battery\":{},\"latency_ms\":{}}}", random.fraction(), random.below(2000) + 1);
    if random.below(10) < 3 {
        push!(out, ",\"org\":{{\"id\":{user},\"login\":\"{}\"}}", word(user % 777));
    }
    if random.below(20) == 0 {
        push!(out, ",\"tags\":[\"{}\",\"{}\"]", random.word(100), random.word(100));
    }
    out.push('}');
}

fn wide(random: &mut Random, number: u64, out: &mut String) {
    push!(out, "{{\"id\":{number}");
    // Increasing, as devices write their fields in one order.
    let mut key = random.below(25);
    while key < 300 {
        push!(out, ",\"field_{key:03}\":");
        match key % 4 {
            0 => push!(out, "{}", random.below(1000)),
            1 => push!(out, "{}.{}", random.below(100), random.below(10)),
            2 => push!(out, "\"{}\"", random.word(500)),
            _ => push!(out, "{}", random.below(2) == 0),
        }
        key += 1 + random.below(48);
    }
    out.push('}');
}

fn strings(random: &mut Random, out: &mut String) {
    out.push_str("{\"plain\":\"");
    words(random, 12, out);
    out.push_str("\",\"escaped\":\"");
    for _ in 0..4 {
        words(random, 2, out);
        out.push_str([r#" \"so\" "#, r"\n", r"\t\\", r" \u00e9t\u00e9 ", r" \ud83d\ude00 "][random.below(5) as usize]);
    }
    out.push_str("\",\"unicode\":\"");
    for _ in 0..4 {
        out.push_str(
            ["Grüße aus Köln ", "日本語の文字列 ", "Привет, мир ", "naïve café 😀 "][random.below(4) as usize],
        );
    }
    out.push_str("\"}");
}

fn numbers(random: &mut Random, out: &mut String) {
    push!(out, "{{\"small\":{},\"large\":{}", random.below(1000), random.next() >> 12);
    push!(
        out,
        ",\"signed\":{},\"price\":{}.{:02}",
        random.next() as i64 >> 30,
        random.below(10_000),
        random.below(100)
    );
    push!(out, ",\"latitude\":-{}.{:06},\"exact\":{}", random.below(90), random.below(1_000_000), random.fraction());
    push!(out, ",\"power\":{}.{}e-{}", random.below(9) + 1, random.below(1_000_000), random.below(20));
    push!(out, ",\"list\":[{},{},{}]}}", random.below(9), random.below(99), random.below(999));
}
