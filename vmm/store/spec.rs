//! Where a store is, as a user says it.

use std::convert::Infallible;
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Where a store keeps its pages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum StoreSpec {
    /// In this process's memory.
    Memory,
    /// In a file without a name in the host's directory for temporary files.
    #[default]
    Temporary,
    /// In a file without a name in this directory, or in a new file of this name, which is unlinked at once.
    At(PathBuf),
}

impl FromStr for StoreSpec {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(if text == "memory" { Self::Memory } else { Self::At(text.into()) })
    }
}

impl fmt::Display for StoreSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Temporary => write!(f, "{}", temporary_directory().display()),
            Self::At(path) => write!(f, "{}", path.display()),
        }
    }
}

/// TMPDIR if it is set; else /var/tmp, which is on a disk where /tmp often is memory.
pub(super) fn temporary_directory() -> PathBuf {
    match env::var_os("TMPDIR") {
        Some(directory) if !directory.is_empty() => directory.into(),
        _ if Path::new("/var/tmp").is_dir() => "/var/tmp".into(),
        _ => "/tmp".into(),
    }
}
