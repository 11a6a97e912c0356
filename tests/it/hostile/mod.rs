//! Raw objects, names and surroundings that are out to do harm: what a run takes stays bounded, what it cannot take is told
//! by object, place and reason, and nothing is lost: the books balance, and a later run completes once the cause is gone.

mod content;
mod names;
mod surroundings;

use std::process::Command;

use serde_json::Value;

use super::support::{Ran, Roots, measured};

impl Roots {
    /// Asserts that `verify` finds nothing wrong.
    #[track_caller]
    fn assert_sound(&self) {
        let text = self.run(&["verify", "--lake", self.lake.to_str().unwrap()]).ok();
        assert!(text.ends_with(": nothing wrong\n"), "{text}");
    }

    /// The command with these arguments and both roots, by a shell that sets a limit first (`-n 64`).
    fn command_within(&self, limit: &str, args: &[&str]) -> Command {
        let inner = self.command_here(args);
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("ulimit {limit} && exec \"$0\" \"$@\"")).arg(inner.get_program());
        command.args(inner.get_args()).current_dir(self.dir.path()).env_remove("RUST_LOG");
        command
    }

    /// Runs the command with these arguments and both roots; what it gave, and the most memory that it held, in MiB.
    fn run_measured(&self, args: &[&str]) -> (Ran, u64) {
        let (ran, _, peak_mib) = measured(self.command_here(args));
        (ran, peak_mib)
    }

    /// Writes the configuration.
    fn configure(&self, text: &str) {
        std::fs::write(self.dir.path().join("siltstone.toml"), text).unwrap();
    }

    /// What is in quarantine: key, offset, reason.
    fn rejects(&self, source: &str) -> Vec<(String, u64, String)> {
        let ran =
            self.run(&["quarantine", "list", source, "--format", "ndjson", "--lake", self.lake.to_str().unwrap()]);
        let rows = ran.ok();
        let rows = rows.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
        rows.map(|row| (text(&row, "key"), row["byte_offset"].as_u64().unwrap(), text(&row, "reason"))).collect()
    }
}
