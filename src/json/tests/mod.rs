#![allow(clippy::unwrap_used)]
use super::*;
use crate::schema::{Observation, resolve};
fn run(name: &str, text: &'static [&'static str]) {
    let (tx, rx) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
        let mut out = String::new();
        let n = text.len();
        let mut carried = Vec::new(); let mut offset = 0;
        for (i, t) in text.iter().enumerate() {
            let mut w: Vec<u8> = carried.clone(); w.extend_from_slice(t.as_bytes());
            let len = w.len();
            w.resize(len + PADDING, 0);
            let d = decoder.decode(&w, &[Segment { object: 0, start: 0, end: len, offset, last: i + 1 == n }]);
            carried = w[d.used..len].to_vec(); offset += d.used as u64;
            out += &format!("rows {} rejects {:?} ", d.rows, d.rejects.iter().map(|r| (r.reason, String::from_utf8_lossy(&r.bytes).into_owned())).collect::<Vec<_>>());
        }
        let o = decoder.observe();
        let fields = resolve(&o, &[]);
        let b = decoder.finish(&fields, &arrow_schema(&fields));
        out += &match b { Ok(b) => (0..b.num_rows()).map(|r| { let mut v = vec![]; write_record(&b, &fields, r, &mut v); String::from_utf8(v).unwrap() }).collect::<Vec<_>>().join(" "), Err(e) => format!("{e:?}") };
        tx.send(out).unwrap();
    });
    println!("{name}: {}", rx.recv_timeout(std::time::Duration::from_secs(2)).unwrap_or_else(|e| format!("HANG/PANIC {e}")));
}
#[test]
fn probe() {
    run("nested drift", &[r#"{"a":{"b":1}}{"a":{"b":"x"}}"#]);
    run("array cut", &[r#"[{"a":1},{"a""#, r#":2}]"#]);
    run("list of {}", &[r#"{"a":[{}]}"#]);
    run("list of []", &[r#"{"a":[[]]}"#]);
    run("crlf", &["{\"a\":1}\r\n{\"a\":{\r\n{\"b\":1,\r\n{\"a\":2}\r\n"]);
    run("log line", &["{\"a\":1}\n[2025-01-01] ERROR\n{\"a\":2}\n"]);
    run("cut own line", &["{\"a\":1}", "\n{\"a\":{\n{\"b\":1,\n{\"a\":2}\n"]);
    run("uncut own line", &["{\"a\":1}\n{\"a\":{\n{\"b\":1,\n{\"a\":2}\n"]);
}
