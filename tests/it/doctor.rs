//! Stores that honour what tables rely on are accepted, others refused; and what a store over HTTP can do to a run.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::fake_s3::{Condition, FakeS3, SECRET, TOKEN, Trouble, run_on};
use super::support::{Ran, Roots, files_below, write};

const ROOTS: [&str; 4] = ["--raw", "s3://bucket/raw", "--lake", "s3://bucket/lake"];

fn no_trouble(_: &str, _: &str, _: usize) -> Option<Trouble> {
    None
}

fn compact(server: &FakeS3, roots: &Roots) -> Ran {
    server.run(roots, &[&["compact", "--output", "json"], &ROOTS[..]].concat())
}

fn rows(server: &FakeS3, roots: &Roots) -> String {
    let sql = ["sql", "--format", "csv", "select count(*), count(distinct id) from lake.s"];
    server.run(roots, &[&sql[..], &ROOTS].concat()).ok().lines().nth(1).unwrap().to_owned()
}

#[test]
fn a_local_folder_is_fit_and_left_as_it_was() {
    let roots = Roots::new();
    let text = roots.run(&["doctor", "new/folder"]).ok();
    assert!(text.contains("32 writers, 20 rounds, 20 with one winner") && text.ends_with("at once\n"), "{text}");
    assert!(!roots.dir.path().join("new").exists());
    std::fs::create_dir(&roots.lake).unwrap();
    let lake = roots.lake.to_str().unwrap();
    let found: Value = serde_json::from_str(&roots.run(&["doctor", "--format", "json", lake]).ok()).unwrap();
    assert_eq!((&found["fit"], &found["race"]["one_winner"]), (&json!(true), &json!(20)), "{found}");
    assert!(found["checks"].as_array().unwrap().iter().all(|check| check["holds"] == true));
    assert!(roots.lake.exists() && files_below(&roots.lake).is_empty());
    assert!(std::fs::read_dir(&roots.lake).unwrap().next().is_none());
}

#[test]
fn a_store_that_honours_put_if_absent_is_fit_and_left_as_it_was() {
    let (server, roots) = (FakeS3::start(Condition::Honoured, no_trouble), Roots::new());
    let text = server.run(&roots, &["doctor", "s3://bucket/lake"]).ok();
    assert!(text.contains("20 with one winner"), "{text}");
    assert_eq!(server.keys(), [""; 0]);
}

#[test]
fn a_store_that_does_not_is_refused_by_doctor_and_by_runs_but_for_a_single_writer() {
    for condition in [Condition::Ignored, Condition::CheckedThenWritten] {
        let (server, roots) = (FakeS3::start(condition, no_trouble), Roots::new());
        let found = server.run(&roots, &["doctor", "s3://bucket/lake", "--format", "json"]);
        assert_eq!((found.code, &*found.stderr), (1, ""), "{condition:?}");
        let found: Value = serde_json::from_str(&found.stdout).unwrap();
        assert_eq!(found["fit"], false, "{condition:?}: {found}");
        assert!(found["race"]["most_winners"].as_u64().unwrap() > 1, "{condition:?}: {found}");
        let text = server.run(&roots, &["doctor", "s3://bucket/lake"]).stdout;
        assert!(text.ends_with("not fit: two runs at once would lose records here\n"), "{condition:?}: {text}");
        assert_eq!(server.keys(), [""; 0], "{condition:?}");

        server.put("raw/s/1.json", r#"{"id":1}"#);
        let message = compact(&server, &roots).stderr;
        assert!(message.contains("two runs at once would lose records"), "{condition:?}: {message}");
        assert_eq!(server.keys(), ["/bucket/raw/s/1.json"], "{condition:?}");
        std::fs::write(roots.dir.path().join("siltstone.toml"), "single_writer = true\n").unwrap();
        compact(&server, &roots).ok();
        assert_eq!(rows(&server, &roots), "1,1", "{condition:?}");
    }
}

#[test]
fn a_store_that_cannot_be_reached_is_no_store_that_was_proven() {
    let roots = Roots::new();
    let ran = run_on("http://127.0.0.1:1", &roots, &["doctor", "s3://bucket/lake"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stdout.contains("FAILED") && ran.stdout.ends_with("not fit\n"), "{}", ran.stdout);
}

#[test]
fn a_run_rides_out_a_store_that_asks_for_less_and_loses_replies() {
    let troubles = |_: &str, path: &str, nth: usize| match nth % 7 {
        2 => Some(Trouble::SlowDown),
        // The proof's own objects are left alone: a race without a winner proves nothing.
        5 if !path.contains("_proof") => Some(Trouble::ReplyLost),
        _ => None,
    };
    let (server, roots) = (FakeS3::start(Condition::Honoured, troubles), Roots::new());
    for n in 0..40 {
        server.put(&format!("raw/s/{n}.json"), json!({"id": n}).to_string());
    }
    let report: Value = serde_json::from_str(&compact(&server, &roots).ok()).unwrap();
    assert_eq!(report["sources"][0]["success_count"], 40, "{report}");
    assert_eq!(rows(&server, &roots), "40,40");
    let again: Value = serde_json::from_str(&compact(&server, &roots).ok()).unwrap();
    assert_eq!(again["sources"][0]["objects"], 0);
}

#[test]
fn the_number_of_attempts_is_bounded_and_one_place_makes_them() {
    let tries = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&tries);
    let troubles = move |_: &str, path: &str, _: usize| {
        (path == "/bucket/raw/s/1.json").then(|| {
            counted.fetch_add(1, Ordering::SeqCst);
            Trouble::SlowDown
        })
    };
    let (server, roots) = (FakeS3::start(Condition::Honoured, troubles), Roots::new());
    server.put("raw/s/1.json", r#"{"id":1}"#);
    server.put("raw/s/2.json", r#"{"id":2}"#);
    // By AWS_MAX_ATTEMPTS: six for each read of the object, which is looked at once first, and then taken in.
    let report: Value = serde_json::from_str(&compact(&server, &roots).ok()).unwrap();
    assert_eq!((&report["status"], &report["sources"][0]["objects"]), (&json!("PARTIAL_SUCCESS"), &json!(1)));
    assert_eq!(tries.load(Ordering::SeqCst), 12, "{report}");
    assert!(report["sources"][0]["notes"].to_string().contains("503"), "{report}");
}

#[test]
fn a_store_that_asks_for_less_gets_fewer_requests_at_once() {
    let slowly = |_: &str, path: &str, _: usize| {
        if path.contains("/raw/s/") {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        None
    };
    let (server, roots) = (FakeS3::start(Condition::Honoured, slowly), Roots::new());
    server.limit(4);
    for n in 0..200 {
        server.put(&format!("raw/s/{n}.json"), json!({"id": n}).to_string());
    }
    // Without the proof, whose race is meant to be all at once.
    std::fs::write(roots.dir.path().join("siltstone.toml"), "single_writer = true\n").unwrap();
    let report = compact(&server, &roots).ok();
    assert!(report.contains("\"success_count\":200"), "{report}");
    // The first reads go out sixteen at a time; had it gone on like that, three of four had been refused, again and again.
    let refused = server.refused();
    assert!((1..100).contains(&refused), "{refused} requests were refused");
    server.limit(usize::MAX);
    assert_eq!(rows(&server, &roots), "200,200");
}

#[test]
fn no_command_that_fails_shows_a_secret_and_a_wrong_secret_is_one_clear_line() {
    let wrong = FakeS3::start(Condition::Honoured, |_, _, _| Some(Trouble::WrongSecret));
    let roots = Roots::new();
    let commands: [&[&str]; 14] = [
        &["compact", "--raw", "s3://bucket/raw", "--lake", "s3://bucket/lake"],
        &["compact", "s", "--raw", "s3://bucket/raw", "--lake", "s3://bucket/lake"],
        &["plan", "--raw", "s3://bucket/raw", "--lake", "s3://bucket/lake"],
        &["sql", "select * from lake.s", "--raw", "s3://bucket/raw", "--lake", "s3://bucket/lake"],
        &["export", "s", "--lake", "s3://bucket/lake"],
        &["schema", "s", "--lake", "s3://bucket/lake"],
        &["status", "--lake", "s3://bucket/lake"],
        &["verify", "--lake", "s3://bucket/lake"],
        &["optimize", "--lake", "s3://bucket/lake"],
        &["vacuum", "--lake", "s3://bucket/lake"],
        &["manifest", "s", "--lake", "s3://bucket/lake"],
        &["quarantine", "list", "s", "--lake", "s3://bucket/lake"],
        &["quarantine", "replay", "s", "--raw", "s3://bucket/raw", "--lake", "s3://bucket/lake"],
        &["doctor", "s3://bucket/lake"],
    ];
    for endpoint in [wrong.endpoint.as_str(), "http://127.0.0.1:1", "http://nowhere.invalid", "no url at all"] {
        for args in commands {
            let args = [&["--log", "json"], args].concat();
            let ran = run_on(endpoint, &roots, &args);
            assert!(ran.code == 1 || ran.code == 2, "{endpoint} {args:?}: {ran:?}");
            for secret in [SECRET, TOKEN] {
                assert!(!ran.stdout.contains(secret) && !ran.stderr.contains(secret), "{endpoint} {args:?}: {ran:?}");
            }
            if endpoint == wrong.endpoint && args[2] != "doctor" {
                let lines: Vec<&str> = ran.stderr.trim_end().lines().collect();
                let [line] = lines[..] else { panic!("{args:?}: {ran:?}") };
                assert!(line.contains("SignatureDoesNotMatch") && !line.contains("<?xml"), "{args:?}: {line}");
                assert!(line.contains("AWS_SECRET_ACCESS_KEY"), "{args:?}: {line}");
            }
        }
    }
}

#[test]
fn keys_come_from_the_profile_that_is_named_and_the_environment_comes_before() {
    let (server, roots) = (FakeS3::start(Condition::Honoured, no_trouble), Roots::new());
    server.put("raw/s/1.json", r#"{"id":1}"#);
    let home = roots.dir.path();
    let text = format!(
        "[other]\naws_access_key_id = AKOTHER\naws_secret_access_key = {SECRET}\n[default]\naws_access_key_id = AKDEFAULT\n\
         aws_secret_access_key = {SECRET}\naws_session_token = {TOKEN}\n"
    );
    write(&home.join(".aws/credentials"), text);
    let config = format!("[profile other]\nregion = eu-central-1\nendpoint_url = {}\n", server.endpoint);
    write(&home.join(".aws/config"), config);
    let run = |variables: &[(&str, &str)]| {
        let mut command = roots.command(&[&["compact"], &ROOTS[..]].concat());
        std::env::vars().filter(|(name, _)| name.starts_with("AWS_")).for_each(|(name, _)| {
            command.env_remove(name);
        });
        Ran::of(command.env("HOME", home).envs(variables.iter().copied()))
    };
    let id = server.puts().len();
    run(&[("AWS_PROFILE", "other")]).ok();
    let signed = |from: usize, by: &str| {
        let puts = server.puts();
        puts.len() > from && puts[from..].iter().all(|headers| headers["authorization"].contains(by))
    };
    assert!(signed(id, "Credential=AKOTHER/") && signed(id, "/eu-central-1/s3/"));
    let endpoint = ("AWS_ENDPOINT_URL", &*server.endpoint);
    let from = server.puts().len();
    server.put("raw/s/2.json", r#"{"id":2}"#);
    run(&[endpoint, ("AWS_REGION", "us-west-2")]).ok();
    assert!(signed(from, "Credential=AKDEFAULT/") && signed(from, "/us-west-2/s3/"));
    assert!(server.puts()[from..].iter().all(|headers| headers["x-amz-security-token"] == TOKEN));
    let from = server.puts().len();
    server.put("raw/s/3.json", r#"{"id":3}"#);
    let keys = [("AWS_ACCESS_KEY_ID", "AKENV"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_PROFILE", "other"), endpoint];
    run(&keys).ok();
    assert!(signed(from, "Credential=AKENV/"));
    let message = run(&[("AWS_PROFILE", "gone"), endpoint]).failed(2);
    assert!(message.contains("there is no AWS profile gone") && !message.contains(SECRET), "{message}");
}

#[test]
fn encryption_by_a_key_of_the_store_is_asked_for_with_every_object_that_is_written() {
    let (server, roots) = (FakeS3::start(Condition::Honoured, no_trouble), Roots::new());
    server.put("raw/s/1.json", r#"{"id":1}"#);
    let key = "arn:aws:kms:us-east-1:111122223333:key/1234";
    let mut command = roots.command(&[&["compact"], &ROOTS[..]].concat());
    command
        .env("AWS_ENDPOINT_URL", &server.endpoint)
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", SECRET)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_SERVER_SIDE_ENCRYPTION", "aws:kms")
        .env("AWS_SSE_KMS_KEY_ID", key)
        .env("AWS_SSE_BUCKET_KEY_ENABLED", "true");
    Ran::of(&mut command).ok();
    let puts = server.puts();
    assert!(puts.len() > 5);
    for headers in puts {
        assert_eq!(headers.get("x-amz-server-side-encryption").map(String::as_str), Some("aws:kms"), "{headers:?}");
        assert_eq!(headers["x-amz-server-side-encryption-aws-kms-key-id"], key);
        assert_eq!(headers["x-amz-server-side-encryption-bucket-key-enabled"], "true");
    }
    assert_eq!(rows(&server, &roots), "1,1");
}
