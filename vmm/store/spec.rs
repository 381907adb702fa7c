//! What a store is to be, as a user says it.

use std::convert::Infallible;
use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use super::{Codec, FaultSpec};

/// Where a store keeps its pages.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum StoreSpec {
    /// In this process's memory.
    Memory,
    /// In a file without a name in the host's directory for temporary files.
    #[default]
    Temporary,
    /// In a file without a name in this directory, or in a new file of this name, which is unlinked at once;
    /// or in this block device.
    At(PathBuf),
}

/// A store's tiers.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct StoreConfig {
    /// Where the last tier is.
    pub place: StoreSpec,
    /// How pages in memory are compressed.
    pub codec: Codec,
    /// Most bytes of memory that compressed pages may take; 0: there is no such tier. `None`: none in front
    /// of a file, and no limit where there is no file.
    pub compressed: Option<u64>,
    /// What is to go wrong with the file.
    pub faults: FaultSpec,
}

impl StoreConfig {
    /// The same with the usual memory tier for a host budget of so many bytes: a quarter of it in front of a
    /// file.
    #[must_use]
    pub fn with_budget(mut self, budget: Option<u64>) -> Self {
        if self.compressed.is_none() && self.place != StoreSpec::Memory {
            let quarter = budget.map(|budget| budget / 4);
            self.compressed = quarter.filter(|&bytes| bytes >= super::MIN_COMPRESSED);
        }
        self
    }
}

impl From<StoreSpec> for StoreConfig {
    fn from(place: StoreSpec) -> Self {
        Self { place, ..Self::default() }
    }
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
