//! A file as the user names it: `HOST[:GUEST][:ro|:create=SIZE]`; a folder: `HOST[:GUEST][:ro]`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use abi::files::MAX_PATH;
use thiserror::Error;

use crate::memory::{Size, SizeError};

/// A host file and what it is in the guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileSpec {
    /// Where it is on the host.
    pub host: PathBuf,
    /// Its absolute path in the guest, without `.`, `..` and empty components.
    pub guest: String,
    /// What the guest may do with it.
    pub access: Access,
}

/// What the guest may do with a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Access {
    /// Read it.
    ReadOnly,
    /// Change it, within the pages that it has.
    ReadWrite,
    /// Change it up to this length in bytes; it is made if it is not there.
    Create(Size),
}

/// Why a file's description was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SpecError {
    /// There is no host path.
    #[error("{0:?} names no file: write HOST[:GUEST][:ro|:create=SIZE]")]
    NoHost(String),
    /// The guest path has no name in it.
    #[error("{0:?} is no path of a file in the guest: write HOST:GUEST, such as data.bin:/data.bin")]
    NoGuest(String),
    /// The guest path does not fit the index.
    #[error("{0:?} is too long for a path in the guest: give one of at most {MAX_PATH} bytes as HOST:GUEST")]
    TooLong(String),
    /// The size after `:create=` is none.
    #[error("{0}: {1}")]
    Size(String, SizeError),
}

impl FileSpec {
    /// `host` under the path `guest`, which is taken from the guest's root.
    ///
    /// # Errors
    /// `guest` is no path that the guest can have.
    pub fn new(host: impl Into<PathBuf>, guest: &str, access: Access) -> Result<Self, SpecError> {
        Ok(Self { host: host.into(), guest: guest_path(guest)?, access })
    }
}

impl FromStr for FileSpec {
    type Err = SpecError;

    /// The last colon splits, so that a host path with a colon in it can be given together with a guest path.
    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (paths, access) = match text.rsplit_once(':') {
            Some((paths, "ro")) => (paths, Access::ReadOnly),
            Some((paths, option)) if let Some(size) = option.strip_prefix("create=") => {
                let size = size.parse().map_err(|error| SpecError::Size(text.to_owned(), error))?;
                (paths, Access::Create(size))
            }
            _ => (text, Access::ReadWrite),
        };
        let (host, guest) = paths.rsplit_once(':').unwrap_or((paths, paths));
        if host.is_empty() {
            return Err(SpecError::NoHost(text.to_owned()));
        }
        Self::new(host, guest, access)
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

/// A folder of the host, each file under which is in the guest.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FolderSpec(FileSpec);

impl FromStr for FolderSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        match text.parse::<FileSpec>()? {
            FileSpec { access: Access::Create(_), .. } => Err(SpecError::NoHost(text.to_owned())),
            spec => Ok(Self(spec)),
        }
    }
}

impl FolderSpec {
    /// The files under it, in the order of their names; links are followed to what they lead to.
    ///
    /// # Errors
    /// A folder cannot be read, or a file's path is too long for the guest.
    pub fn files(&self) -> Result<Vec<FileSpec>, FolderError> {
        let mut files = Vec::new();
        self.add(&mut files, &self.0.host, &self.0.guest, 0)?;
        Ok(files)
    }

    fn add(
        &self,
        files: &mut Vec<FileSpec>,
        host: &Path,
        guest: &str,
        depth: u32,
    ) -> Result<(), FolderError> {
        /// Links can make a folder contain itself.
        const DEEPEST: u32 = 40;
        let failed = |error| FolderError::Unreadable(host.display().to_string(), error);
        let mut entries =
            fs::read_dir(host).map_err(failed)?.collect::<Result<Vec<_>, _>>().map_err(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            // A link that leads nowhere is no file.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let guest = format!("{guest}/{}", entry.file_name().to_string_lossy());
            if metadata.is_file() {
                files.push(FileSpec::new(path, &guest, self.0.access)?);
            } else if metadata.is_dir() && depth < DEEPEST {
                self.add(files, &path, &guest, depth + 1)?;
            }
        }
        Ok(())
    }
}

/// Why a folder's files cannot be offered.
#[derive(Debug, Error)]
pub enum FolderError {
    /// It cannot be listed.
    #[error("cannot list {0}: {1}; give a folder that exists and that you may read")]
    Unreadable(String, io::Error),
    /// A file's path in the guest is none.
    #[error(transparent)]
    Spec(#[from] SpecError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(host: &str, guest: &str, access: Access) -> Result<FileSpec, SpecError> {
        Ok(FileSpec { host: host.into(), guest: guest.to_owned(), access })
    }

    #[test]
    fn a_description_is_host_then_guest_then_what_the_guest_may_do() {
        use Access::{Create, ReadOnly, ReadWrite};
        let size = "64M".parse().expect("a size");
        assert_eq!("new.db:create=64M".parse(), spec("new.db", "/new.db", Create(size)));
        assert_eq!("out/a:/b:create=64M".parse(), spec("out/a", "/b", Create(size)));
        assert!(matches!("a:create=many".parse::<FileSpec>(), Err(SpecError::Size(..))));
        assert_eq!("big.bin".parse(), spec("big.bin", "/big.bin", ReadWrite));
        assert_eq!("/etc/hosts:ro".parse(), spec("/etc/hosts", "/etc/hosts", ReadOnly));
        assert_eq!("a:b".parse(), spec("a", "/b", ReadWrite));
        assert_eq!("./x/../a:/in//the/./guest:ro".parse(), spec("./x/../a", "/in/the/guest", ReadOnly));
        assert_eq!("a:b:/c".parse(), spec("a:b", "/c", ReadWrite));
        assert_eq!("../../a".parse(), spec("../../a", "/a", ReadWrite));
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
