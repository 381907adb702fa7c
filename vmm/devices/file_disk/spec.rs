//! A file as the user names it: `HOST[:GUEST][:ro]`.

use std::path::PathBuf;
use std::str::FromStr;

use abi::files::MAX_PATH;
use thiserror::Error;

/// A host file and what it is in the guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSpec {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Its absolute path in the guest, without `.`, `..` and empty components.
    pub guest: String,
    /// Whether the guest must not write to it.
    pub read_only: bool,
}

/// Why a file's description was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SpecError {
    /// There is no host path.
    #[error("{0:?} names no file: write HOST[:GUEST][:ro]")]
    NoHost(String),
    /// The guest path has no name in it.
    #[error("{0:?} is no path of a file in the guest: write HOST:GUEST, such as data.bin:/data.bin")]
    NoGuest(String),
    /// The guest path does not fit the index.
    #[error("{0:?} is too long for a path in the guest: give one of at most {MAX_PATH} bytes as HOST:GUEST")]
    TooLong(String),
}

impl FileSpec {
    /// `host` under the path `guest`, which is taken from the guest's root.
    ///
    /// # Errors
    /// `guest` is no path that the guest can have.
    pub fn new(host: impl Into<PathBuf>, guest: &str, read_only: bool) -> Result<Self, SpecError> {
        Ok(Self { host: host.into(), guest: guest_path(guest)?, read_only })
    }
}

impl FromStr for FileSpec {
    type Err = SpecError;

    /// The last colon splits, so that a host path with a colon in it can be given together with a guest path.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (paths, read_only) = text.strip_suffix(":ro").map_or((text, false), |paths| (paths, true));
        let (host, guest) = paths.rsplit_once(':').unwrap_or((paths, paths));
        if host.is_empty() {
            return Err(SpecError::NoHost(text.to_owned()));
        }
        Self::new(host, guest, read_only)
    }
}

/// An absolute path in the guest: `path` from the root, resolved by name alone (there are no links in the guest).
fn guest_path(path: &str) -> Result<String, SpecError> {
    let mut names = Vec::new();
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    if names.is_empty() || path.ends_with('/') || path.contains('\0') {
        return Err(SpecError::NoGuest(path.to_owned()));
    }
    let absolute = format!("/{}", names.join("/"));
    if absolute.len() > MAX_PATH {
        return Err(SpecError::TooLong(absolute));
    }
    Ok(absolute)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(host: &str, guest: &str, read_only: bool) -> Result<FileSpec, SpecError> {
        Ok(FileSpec { host: host.into(), guest: guest.to_owned(), read_only })
    }

    #[test]
    fn a_description_is_host_then_guest_then_ro() {
        assert_eq!("big.bin".parse(), spec("big.bin", "/big.bin", false));
        assert_eq!("/etc/hosts:ro".parse(), spec("/etc/hosts", "/etc/hosts", true));
        assert_eq!("a:b".parse(), spec("a", "/b", false));
        assert_eq!("./x/../a:/in//the/./guest:ro".parse(), spec("./x/../a", "/in/the/guest", true));
        assert_eq!("a:b:/c".parse(), spec("a:b", "/c", false));
        assert_eq!("../../a".parse(), spec("../../a", "/a", false));
    }

    #[test]
    fn what_names_no_file_is_refused() {
        for text in ["", ":ro", ":/a", ":/a:ro"] {
            assert_eq!(text.parse::<FileSpec>(), Err(SpecError::NoHost(text.to_owned())));
        }
        for (text, guest) in [("a:", ""), ("a:/", "/"), ("a:b/", "b/"), ("..", "..")] {
            assert_eq!(text.parse::<FileSpec>(), Err(SpecError::NoGuest(guest.to_owned())));
        }
        let long = format!("a:/{}", "x".repeat(MAX_PATH));
        assert!(matches!(long.parse::<FileSpec>(), Err(SpecError::TooLong(_))));
    }
}
