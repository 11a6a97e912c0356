//! A result in a file: written beside it, and renamed when it is whole.

use std::fs::{self, File, OpenOptions};
use std::io::IsTerminal as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::error::{Context as _, Error, Result};
use crate::query::Format;

/// A file that is being written. Dropped without [`ResultFile::keep`], it leaves nothing behind.
#[derive(Debug)]
pub(super) struct ResultFile {
    path: PathBuf,
    /// `None` for what is no regular file, as a pipe.
    beside: Option<NamedTempFile>,
}

impl ResultFile {
    /// Begins a file, and gives what to write to.
    ///
    /// # Errors
    /// When it cannot be made; `Usage` when that is a terminal that cannot show the format.
    pub(super) fn begin(path: &Path, format: Format) -> Result<(Self, File)> {
        let describe = || format!("cannot write {}", path.display());
        // Of a link, what it leads to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let held = fs::metadata(&path).ok();
        if held.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(Error::usage(format!("{} is a folder", path.display())));
        }
        if held.as_ref().is_some_and(|held| !held.is_file()) {
            let file = OpenOptions::new().write(true).open(&path).context(describe)?;
            if format.is_binary() && file.is_terminal() {
                return Err(binary_to_terminal());
            }
            return Ok((Self { path, beside: None }, file));
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".siltstone-").suffix(".tmp");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // As any other file: less what the umask takes.
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let beside = builder.tempfile_in(folder).context(describe)?;
        if let Some(held) = held {
            beside.as_file().set_permissions(held.permissions()).context(describe)?;
        }
        let file = beside.as_file().try_clone().context(describe)?;
        Ok((Self { path, beside: Some(beside) }, file))
    }

    /// Lets the file take its place.
    ///
    /// # Errors
    /// When it cannot.
    pub(super) fn keep(self) -> Result<()> {
        let describe = || format!("cannot write {}", self.path.display());
        if let Some(beside) = self.beside {
            beside.as_file().sync_all().context(describe)?;
            beside.persist(&self.path).context(describe)?;
        }
        Ok(())
    }
}

/// What is said instead.
pub(super) fn binary_to_terminal() -> Error {
    Error::usage("a terminal cannot show this format: give a file, with -o FILE (in the shell: \\o FILE), or a pipe")
}
