//! Where the shell remembers statements.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;

/// The file of the history, in a folder that is there; `None` where there is no place for one.
pub(super) fn file() -> Option<PathBuf> {
    let folder = folder(|name| env::var_os(name).filter(|value| !value.is_empty()))?;
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder).ok()?;
    Some(folder.join("history"))
}

/// `$XDG_STATE_HOME/siltstone`, by default `~/.local/state/siltstone`.
fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let state = variable("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || variable("HOME").map(|home| PathBuf::from(home).join(".local/state"));
    let local = || variable("LOCALAPPDATA").map(PathBuf::from);
    Some(state.or_else(home).or_else(local)?.join("siltstone"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_that_of_the_users_state() {
        let with = |variables: &[(&str, &str)]| {
            let found = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.into());
            folder(found)
        };
        assert_eq!(with(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), Some("/s/siltstone".into()));
        assert_eq!(with(&[("HOME", "/h")]), Some("/h/.local/state/siltstone".into()));
        assert_eq!(with(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]), Some("/h/.local/state/siltstone".into()));
        assert_eq!(with(&[]), None);
    }
}
