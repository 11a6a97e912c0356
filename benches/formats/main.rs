//! The benchmark suite for choices of format: `siltstone bench` over generated records of every shape.
//!
//! ```sh
//! cargo bench --bench formats                                        # all shapes, 256 MB each
//! cargo bench --bench formats -- nested --size-mb 64 --repetitions 3
//! ```
//!
//! The records are those of the other suite, the same in every run. Reports are left in `target/formats/<shape>/`.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a benchmark that cannot go on has failed")]
#![allow(clippy::print_stdout, reason = "what is measured is told there")]

#[path = "../suite/data.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared with the other suite, which uses all of it")]
mod data;

use std::path::Path;
use std::process::{Command, ExitCode};

use data::Shape;

/// An object has about this many bytes, as when a lake is filled by functions that collect.
const OBJECT_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let (mut wanted, mut size_mb, mut more) = (Vec::new(), 256, Vec::new());
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--size-mb" => size_mb = args.next().and_then(|text| text.parse().ok()).expect("--size-mb N"),
            _ if arg.starts_with("--") => more.extend([arg, args.next().expect("an option has a value")]),
            _ => wanted.push(arg),
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/formats");
    for shape in [Shape::Flat, Shape::Nested, Shape::Wide, Shape::Strings, Shape::Numbers] {
        let name = shape.name();
        if !(wanted.is_empty() || wanted.iter().any(|wanted| wanted == name)) {
            continue;
        }
        let raw = root.join("raw").join(format!("{name}-{size_mb}")).join(name);
        generate(shape, &raw, size_mb << 20);
        println!("\n{name}");
        let bench = Command::new(env!("CARGO_BIN_EXE_siltstone"))
            .arg("bench")
            .arg(&raw)
            .args(["--sample", &format!("{size_mb}MiB"), "--out"])
            .arg(root.join(name))
            .args(&more)
            .status();
        if !bench.expect("the binary is there").success() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Writes the records of a shape, unless they are there.
fn generate(shape: Shape, folder: &Path, size_bytes: usize) {
    if folder.exists() {
        return;
    }
    let half = folder.with_extension("half");
    std::fs::create_dir_all(&half).unwrap();
    for object in 0..size_bytes.div_ceil(OBJECT_BYTES) {
        let bytes = shape.ndjson(object as u64 * 1_000_000, OBJECT_BYTES.min(size_bytes - object * OBJECT_BYTES));
        std::fs::write(half.join(format!("{object:05}.json")), bytes).unwrap();
    }
    std::fs::rename(half, folder).unwrap();
}
