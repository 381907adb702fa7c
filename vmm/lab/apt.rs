//! The package manager, as any user may call it: apt-get finds and checks packages, dpkg-deb unpacks them.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Stdio};

/// One version of a package, as `apt-get download` wants it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Package {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
}

impl Package {
    /// Reads a package file's name, `NAME_VERSION_ARCHITECTURE.deb`, with `:` written as `%3a`.
    fn of_file(name: &str) -> Option<Self> {
        let mut parts = name.splitn(3, '_');
        let (name, version) = (parts.next()?, parts.next()?);
        Some(Self { name: name.to_owned(), version: version.replace("%3a", ":") })
    }
}

/// The packages themselves, whether they are installed or not, and all that they need and this machine has not got.
///
/// # Errors
/// Why apt does not know, in one line.
pub fn closure(packages: &[&str]) -> Result<Vec<Package>, String> {
    let mut apt = Command::new("apt-get");
    apt.args(["-qq", "-o", "Debug::NoLocking=1", "--no-install-recommends", "--print-uris", "--reinstall"]);
    let listing = output(apt.arg("install").args(packages))?;
    // Each line is: 'URI' FILE SIZE CHECKSUM
    let found: Vec<Package> =
        listing.lines().filter_map(|line| Package::of_file(line.split_whitespace().nth(1)?)).collect();
    if found.is_empty() {
        return Err(format!("apt has nothing to fetch for {}", packages.join(" ")));
    }
    Ok(found)
}

/// The newest version of each package alone.
///
/// # Errors
/// Why apt does not know, in one line.
pub fn alone(packages: &[&str]) -> Result<Vec<Package>, String> {
    let version = |name: &&str| {
        let shown = output(Command::new("apt-cache").args(["show", "--no-all-versions", name]))?;
        let version = shown.lines().find_map(|line| line.strip_prefix("Version: "));
        let version = version.ok_or_else(|| format!("apt shows no version of {name}"))?;
        Ok(Package { name: (*name).to_owned(), version: version.to_owned() })
    };
    packages.iter().map(version).collect()
}

/// The first package that a meta-package depends on.
///
/// # Errors
/// Why apt does not know, in one line.
pub fn first_dependency(package: &str) -> Result<String, String> {
    let shown = output(Command::new("apt-cache").args(["depends", "--important", package]))?;
    let dependency = shown.lines().find_map(|line| line.trim().strip_prefix("Depends: "));
    dependency.map(str::to_owned).ok_or_else(|| format!("apt does not know {package}"))
}

/// Downloads packages into a folder; apt checks their signatures' checksums.
///
/// # Errors
/// Why apt failed, in one line.
pub fn download(packages: &[Package], folder: &Path) -> Result<(), String> {
    let names = packages.iter().map(|package| format!("{}={}", package.name, package.version));
    output(Command::new("apt-get").args(["-qq", "download"]).args(names).current_dir(folder)).map(drop)
}

/// Unpacks one package file.
///
/// # Errors
/// Why dpkg-deb failed, in one line.
pub fn unpack(package: &Path, folder: &Path) -> Result<(), String> {
    output(Command::new("dpkg-deb").arg("-x").args([package.as_os_str(), folder.as_os_str()])).map(drop)
}

/// Runs a tool to its end and returns its standard output, or the last line of its complaint.
///
/// # Errors
/// It is not there, or failed.
pub fn output(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_owned();
    let result = command.env("LC_ALL", "C").stdin(Stdio::null()).output();
    let result = result.map_err(|error| format!("cannot run {}: {error}", Path::new(&name).display()))?;
    if result.status.success() {
        return Ok(String::from_utf8_lossy(&result.stdout).into_owned());
    }
    Err(complaint(&name, &result.stderr))
}

fn complaint(name: &OsStr, stderr: &[u8]) -> String {
    let text = String::from_utf8_lossy(stderr);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it failed without a word");
    format!("{}: {}", Path::new(name).display(), line.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_file_names_its_package_and_version() {
        let package = Package::of_file("qemu-system-x86_1%3a7.2+dfsg-7+deb12u18+b3_amd64.deb");
        let expected =
            Package { name: "qemu-system-x86".to_owned(), version: "1:7.2+dfsg-7+deb12u18+b3".to_owned() };
        assert_eq!(package, Some(expected));
        assert_eq!(Package::of_file("README"), None);
    }

    #[test]
    fn a_failing_tool_is_quoted_in_one_line() {
        let mut shell = Command::new("sh");
        assert_eq!(
            output(shell.args(["-c", "echo first >&2; echo last >&2; exit 3"])),
            Err("sh: last".to_owned())
        );
        assert!(output(&mut Command::new("no-such-tool")).is_err_and(|e| e.contains("no-such-tool")));
    }
}
