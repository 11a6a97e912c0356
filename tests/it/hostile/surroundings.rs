//! What a run lives on: disks that are full or read-only, few open files, little memory.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Numbers, Ran, Roots, lines, write};

/// A file system in memory of a certain size, until it is dropped.
struct Disk(PathBuf);

impl Disk {
    /// Mounts one, which takes a privilege. Without it there is none, and that is said.
    fn mount(at: &Path, options: &str) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(at).output();
        if !mounted.as_ref().is_ok_and(|ran| ran.status.success()) {
            eprintln!("skipped: a file system cannot be mounted here: {mounted:?}");
            return None;
        }
        Some(Self(at.to_owned()))
    }

    fn remount(&self, options: &str) {
        let ran = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).output().unwrap();
        assert!(ran.status.success(), "{ran:?}");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Records that do not compress, in two partitions.
fn noise(numbers: &mut Numbers, first: i64, count: i64) -> String {
    let records = (first..first + count).map(|id| {
        let noise: String = (0..8).map(|_| format!("{:016x}", numbers.below(u64::MAX))).collect();
        json!({"id": id, "noise": noise, "kind": if id % 2 == 0 { "even" } else { "odd" }})
    });
    lines(&records.collect::<Vec<Value>>())
}

#[test]
fn a_full_disk_fails_the_run_by_name_and_the_next_one_with_room_completes() {
    let roots = Roots::new();
    let Some(disk) = Disk::mount(&roots.lake, "size=8m") else { return };
    let mut numbers = Numbers(1);
    roots.put("s/first.json", noise(&mut numbers, 0, 100));
    roots.compact_one(&["--partition-by", "kind"]);
    roots.put("s/second.json", noise(&mut numbers, 100, 2000));
    let ballast = roots.lake.join("ballast");
    let mut failed = 0;
    // Room for nothing at all, for some files, for all but the last.
    for free_kib in
        [0_usize, 4, 12, 40, 60, 80, 100, 120, 124, 128, 132, 136, 140, 144, 148, 152, 156, 160, 164, 168, 172, 176]
    {
        disk.remount("size=8m");
        fill(&roots.lake, &ballast, free_kib << 10);
        let ran = roots.run_here(&["compact", "s"]);
        std::fs::remove_file(&ballast).unwrap();
        if ran.code == 0 {
            break;
        }
        failed += 1;
        let message = ran.failed(1);
        assert!(message.contains("No space left on device") && message.contains("s"), "{free_kib} KiB: {message}");
        roots.assert_sound();
        assert_eq!(roots.exported_ids("s").len(), 100, "{free_kib} KiB");
        // Whatever was begun is given back.
        let left: Vec<String> = crate::support::files_below(&roots.lake.join("s"));
        assert!(left.iter().filter(|path| path.ends_with("zstd.parquet")).count() == 2, "{free_kib} KiB: {left:?}");
    }
    assert!(failed > 3, "the disk was full only {failed} times");
    roots.run_here(&["compact", "s"]);
    assert_eq!(roots.exported_ids("s"), (0..2100).collect::<Vec<_>>());
    roots.assert_sound();
    // Maintenance, too.
    for first in [3000, 3100, 3200] {
        roots.put(&format!("s/{first}.json"), noise(&mut numbers, first, 100));
        roots.compact_one(&["s"]);
    }
    fill(&roots.lake, &ballast, 20 << 10);
    let ran = roots.run(&["optimize", "s", "--lake", roots.lake.to_str().unwrap()]);
    assert!(ran.failed(1).contains("No space left on device"));
    roots.assert_sound();
    std::fs::remove_file(&ballast).unwrap();
    roots.run(&["optimize", "s", "--lake", roots.lake.to_str().unwrap()]).ok();
    assert_eq!(roots.exported_ids("s").len(), 2400);
    roots.assert_sound();
}

/// Fills the disk of `folder` up to so many bytes, by one file.
fn fill(folder: &Path, ballast: &Path, free_bytes: usize) {
    let _ = std::fs::remove_file(ballast);
    let ran = Command::new("df").args(["--output=avail", "-B1"]).arg(folder).output().unwrap();
    let text = String::from_utf8(ran.stdout).unwrap();
    let free: usize = text.lines().nth(1).unwrap().trim().parse().unwrap();
    std::fs::write(ballast, vec![1; free.saturating_sub(free_bytes)]).unwrap();
}

#[test]
fn a_lake_that_can_only_be_read_is_read_and_a_run_says_why_it_cannot_write() {
    let roots = Roots::new();
    let Some(disk) = Disk::mount(&roots.lake, "size=8m") else { return };
    roots.put("s/a.json", r#"{"id":1}"#);
    roots.compact_one(&[]);
    disk.remount("ro");
    roots.put("s/b.json", r#"{"id":2}"#);
    let message = roots.run_here(&["compact"]).failed(1);
    assert!(
        message.contains("Read-only file system") && message.contains("_siltstone") || message.contains("parquet"),
        "{message}"
    );
    assert_eq!(roots.exported_ids("s"), [1]);
    assert_eq!(roots.sql("select count(*) as n from lake.s"), [json!({"n": 1})]);
    roots.run_here(&["plan"]).ok();
    assert_eq!(roots.status("s")["objects_new"], 1);
    roots.assert_sound();
    // Where nothing is new, nothing is written.
    std::fs::remove_file(roots.raw.join("s/b.json")).unwrap();
    assert_eq!(roots.compact_one(&[]).objects, 0);
    roots.put("s/b.json", r#"{"id":2}"#);
    disk.remount("rw");
    assert_eq!(roots.compact_one(&[]).objects, 1);
    assert_eq!(roots.exported_ids("s"), [1, 2]);
    roots.assert_sound();
}

/// Objects of many partitions.
fn put_many(roots: &Roots, first: usize, count: usize) {
    for object in first..first + count {
        let records: Vec<Value> = (0..5).map(|n| json!({"id": object * 5 + n, "k": (object * 5 + n) % 97})).collect();
        roots.put_lines(&format!("s/{:02}/{object:05}.json", object % 50), &records);
    }
}

#[test]
fn a_run_with_few_open_files_succeeds_or_says_so_and_nothing_is_lost() {
    let roots = Roots::new();
    put_many(&roots, 0, 600);
    let ran = Ran::of(&mut roots.command_within("-n 64", &["compact", "--partition-by", "k"]));
    ran.ok();
    put_many(&roots, 600, 100);
    for (limit, is_enough) in [("-n 64", true), ("-n 16", false), ("-n 12", false), ("-n 8", false)] {
        let ran = Ran::of(&mut roots.command_within(limit, &["compact"]));
        if is_enough || ran.code == 0 {
            ran.ok();
        } else {
            assert!(ran.code == 1 || ran.code == 2, "{limit}: {ran:?}");
            assert!(ran.stderr.contains("Too many open files"), "{limit}: {ran:?}");
        }
        roots.assert_sound();
        put_many(&roots, 700 + roots.files("s").len(), 1);
    }
    roots.compact_one(&[]);
    let ids = roots.exported_ids("s");
    let mut distinct = ids.clone();
    distinct.dedup();
    assert_eq!(ids, distinct);
    assert_eq!(roots.status("s")["objects_new"], 0);
    let within = |args: &[&str]| Ran::of(roots.command_within("-n 64", args).env("RUST_BACKTRACE", "0"));
    within(&["sql", "select count(*) from lake.s"]).ok();
    within(&["sql", "select count(*) from raw.s"]).ok();
    let lake = roots.lake.to_str().unwrap().to_owned();
    let limited = |args: &str| {
        Ran::of(
            Command::new("sh")
                .arg("-c")
                .arg(format!("ulimit -n 64; exec {} {args} --lake {lake}", env!("CARGO_BIN_EXE_siltstone"))),
        )
    };
    for args in ["optimize s", "verify", "export s", "vacuum s"] {
        limited(args).ok();
    }
    assert_eq!(roots.exported_ids("s"), ids);
    roots.assert_sound();
}

#[test]
fn a_run_that_gets_no_memory_leaves_the_table_as_it_was_and_another_completes() {
    let roots = Roots::new();
    let mut numbers = Numbers(3);
    roots.put("s/a.json", noise(&mut numbers, 0, 100));
    roots.compact_one(&["--partition-by", "kind"]);
    for object in 0..8 {
        roots.put(&format!("s/{object}.json"), noise(&mut numbers, 100 + object * 2000, 2000));
    }
    let mut starved = 0;
    for mib in [60, 120, 200, 300, 400, 450, 500, 600, 800] {
        let ran = roots.command_within(&format!("-v {}", mib << 10), &["compact"]).output().unwrap();
        if ran.status.success() {
            break;
        }
        starved += 1;
        roots.assert_sound();
        assert_eq!(roots.exported_ids("s").len(), 100, "{mib} MiB");
    }
    assert!(starved > 0);
    roots.run_here(&["compact"]);
    assert_eq!(roots.exported_ids("s"), (0..16_100).collect::<Vec<_>>());
    roots.assert_sound();
}

#[test]
fn memory_stays_within_what_is_configured() {
    let roots = Roots::new();
    roots.configure("[defaults]\nmemory_bytes = 134217728\n");
    let mut numbers = Numbers(4);
    for object in 0..6 {
        write(&roots.raw.join(format!("s/{object}.json")), noise(&mut numbers, object * 50_000, 50_000));
    }
    let (ran, peak_mib) = roots.run_measured(&["compact", "--partition-by", "kind"]);
    ran.ok();
    // 50 MB of raw text, the program itself, and what was set.
    assert!(peak_mib < 400, "{peak_mib} MiB");
    roots.assert_sound();
}

/// Compacts under a limit of its own and one of the kernel's: on all that it may write to, the stacks of threads among it.
fn compact_within_256_mb(roots: &Roots, partition_by: &str) {
    let args = ["compact", "--memory-limit", "256MB", "--partition-by", partition_by];
    // A fifth of that is for stacks that are never touched.
    let ran = roots.command_within("-d 307200", &args).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn rows_of_two_thousand_partitions_in_any_order_need_no_more_memory() {
    let roots = Roots::new();
    let mut numbers = Numbers(5);
    let mut text = String::new();
    for id in 0..40_000 {
        let part = numbers.below(2000);
        text.push_str(&format!("{{\"id\":{id},\"part\":{part},\"note\":\"{:0200x}\"}}\n", numbers.below(u64::MAX)));
    }
    write(&roots.raw.join("s/a.json"), text);
    compact_within_256_mb(&roots, "part");
    assert_eq!(roots.exported_ids("s"), (0..40_000).collect::<Vec<_>>());
    assert!(std::fs::read_dir(roots.lake.join("s")).unwrap().count() >= 2000);
    roots.assert_sound();
}

/// One array of so many bytes.
fn check_array(bytes: usize) {
    let roots = Roots::new();
    let path = roots.raw.join("s/a.json");
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let (mut numbers, mut written, mut rows) = (Numbers(6), 0, 0);
    while written < bytes {
        let start = if rows == 0 { '[' } else { ',' };
        let record = format!("{start}{{\"id\":{rows},\"note\":\"{:0200x}\"}}", numbers.below(u64::MAX));
        file.write_all(record.as_bytes()).unwrap();
        (written, rows) = (written + record.len(), rows + 1);
    }
    file.write_all(b"]").unwrap();
    drop(file);
    compact_within_256_mb(&roots, "none");
    assert_eq!(roots.sql("SELECT count(DISTINCT id) AS n FROM lake.s"), [json!({"n": rows})]);
    roots.assert_sound();
}

#[test]
fn a_large_array_needs_no_more_memory() {
    check_array(60_000_000);
}

#[test]
#[ignore = "an array of a gigabyte; minutes in a debug build: cargo test --release --test it -- --ignored gigabyte"]
fn an_array_of_a_gigabyte_needs_no_more_memory() {
    check_array(1_000_000_000);
}
