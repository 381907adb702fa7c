//! The cache: packages unpacked in the user's cache folder, `$XDG_CACHE_HOME/bifold/lab/NAME/`, each with a file
//! of checksums that is verified before every use.

use std::env;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use super::LabError;
use super::apt::{self, Package};

/// In each tree: `sha256sum --check` reads it.
pub const CHECKSUMS: &str = "SHA256SUMS";
/// In each tree: a line a package, its name and version.
pub const VERSIONS: &str = "VERSIONS";

/// A tree of the cache and how to make it.
#[derive(Clone, Copy, Debug)]
pub struct Tree {
    /// Its folder.
    pub name: &'static str,
    /// For messages.
    pub part: &'static str,
    /// What to fetch, and what to install instead.
    pub packages: &'static [&'static str],
    /// Files are kept whose path contains one of these.
    pub keep: &'static [&'static str],
    /// Which packages that means on this machine.
    pub resolve: fn(&[&str]) -> Result<Vec<Package>, String>,
}

impl Tree {
    /// Where it is or would be.
    ///
    /// # Errors
    /// There is no cache folder.
    pub fn path(&self) -> Result<PathBuf, LabError> {
        Ok(folder()?.join(self.name))
    }

    /// Makes sure that the tree is there, whole and unchanged, and returns where it is. Fetches it if not.
    ///
    /// # Errors
    /// It cannot be fetched.
    pub fn provide(&self) -> Result<PathBuf, LabError> {
        let folder = folder()?;
        fs::create_dir_all(&folder).map_err(LabError::file("make", &folder))?;
        let lock = folder.join("lock");
        let lock_file = File::create(&lock).map_err(LabError::file("open", &lock))?;
        // Held until this function returns: one process fetches, others wait for it.
        flock(&lock_file, FlockOperation::LockExclusive)
            .map_err(|error| LabError::file("lock", &lock)(error.into()))?;

        let tree = folder.join(self.name);
        if tree.exists() {
            match verify(&tree) {
                Ok(()) => return Ok(tree),
                Err(reason) => eprintln!("lab: {} is damaged ({reason}); fetching it again", tree.display()),
            }
        }
        let partial = folder.join(format!("{}.partial", self.name));
        let fetched = self.fetch(&partial).and_then(|()| replace(&partial, &tree));
        let _ = fs::remove_dir_all(&partial);
        fetched.map_err(|reason| self.missing(reason))?;
        Ok(tree)
    }

    /// The error that says how to get it.
    pub fn missing(&self, reason: String) -> LabError {
        LabError::Missing { part: self.part, reason, packages: self.packages.join(" ") }
    }

    fn fetch(&self, tree: &Path) -> Result<(), String> {
        let packages = (self.resolve)(self.packages)?;
        eprintln!(
            "lab: fetching {} with apt-get into the cache, once (packages: {})",
            self.part,
            packages.len()
        );
        let _ = fs::remove_dir_all(tree);
        let downloads = tree.join("downloads");
        fs::create_dir_all(&downloads)
            .map_err(|error| format!("cannot make {}: {error}", downloads.display()))?;
        apt::download(&packages, &downloads)?;
        for package in files(&downloads).map_err(|error| error.to_string())? {
            apt::unpack(&package, tree)?;
        }
        fs::remove_dir_all(&downloads).map_err(|error| error.to_string())?;
        self.prune(tree).map_err(|error| error.to_string())?;
        let versions: String = packages.iter().map(|p| format!("{} {}\n", p.name, p.version)).collect();
        seal(tree, &versions)
    }

    fn prune(&self, tree: &Path) -> std::io::Result<()> {
        for path in files(tree)? {
            let name = path.strip_prefix(tree).unwrap_or(&path).to_string_lossy();
            if !self.keep.iter().any(|fragment| name.contains(fragment)) {
                fs::remove_file(&path)?;
            }
        }
        Ok(())
    }
}

/// Writes the tree's checksums, after which it must not change.
fn seal(tree: &Path, versions: &str) -> Result<(), String> {
    fs::write(tree.join(VERSIONS), versions).map_err(|error| error.to_string())?;
    let regular = |path: &PathBuf| path.symlink_metadata().is_ok_and(|metadata| metadata.is_file());
    let mut paths = files(tree).map_err(|error| error.to_string())?;
    paths.retain(regular);
    paths.sort_unstable_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    let names = paths.iter().map(|path| path.strip_prefix(tree).unwrap_or(path));
    let sums = apt::output(Command::new("sha256sum").args(names).current_dir(tree))?;
    fs::write(tree.join(CHECKSUMS), sums).map_err(|error| error.to_string())
}

/// Compares the tree with its checksums.
///
/// # Errors
/// The first file that differs, or why it cannot be told.
pub fn verify(tree: &Path) -> Result<(), String> {
    let mut check = Command::new("sha256sum");
    let check = check.args(["--check", "--quiet", "--strict", CHECKSUMS]).current_dir(tree).output();
    let check = check.map_err(|error| format!("cannot run sha256sum: {error}"))?;
    if check.status.success() {
        return Ok(());
    }
    // Its answers, `FILE: FAILED`, are on standard output; what else it has to say is not.
    let said = if check.stdout.is_empty() { check.stderr } else { check.stdout };
    Err(String::from_utf8_lossy(&said).lines().next().unwrap_or("sha256sum failed").to_owned())
}

fn replace(partial: &Path, tree: &Path) -> Result<(), String> {
    let replaced = if tree.exists() { fs::remove_dir_all(tree) } else { Ok(()) };
    replaced
        .and_then(|()| fs::rename(partial, tree))
        .map_err(|error| format!("cannot put {} in place: {error}", tree.display()))
}

/// Every file under a folder, links included and not followed.
///
/// # Errors
/// A folder cannot be read.
pub fn files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            found.extend(files(&entry.path())?);
        } else {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn folder() -> Result<PathBuf, LabError> {
    let set = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(base.ok_or(LabError::NoCacheFolder)?.join("bifold/lab"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_file_is_noticed() {
        let tree = tempfile::tempdir().expect("a temporary folder");
        let file = tree.path().join("usr/bin");
        fs::create_dir_all(&file).expect("a folder");
        fs::write(file.join("tool"), "as fetched").expect("a file");
        seal(tree.path(), "tool 1.0\n").expect("sha256sum works");
        assert_eq!(verify(tree.path()), Ok(()));
        fs::write(file.join("tool"), "as damaged").expect("a file");
        assert_eq!(verify(tree.path()), Err("usr/bin/tool: FAILED".to_owned()));
        fs::remove_file(file.join("tool")).expect("a file");
        assert!(verify(tree.path()).is_err());
    }
}
