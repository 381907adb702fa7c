//! The shared libraries of a dynamic program, as its own loader finds them on this machine.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use object::read::ReadCache;

use super::elf::check_program;

/// What the loader of glibc knows of libraries outside its default folders (ld.so(8)).
const CACHE: &str = "/etc/ld.so.cache";

/// The files that a program needs beside itself; none for a static program, and for what is no program.
#[must_use]
pub fn of(program: &Path) -> Vec<PathBuf> {
    let Ok(file) = File::open(program) else { return Vec::new() };
    match check_program(&ReadCache::new(file)) {
        Ok(Some(loader)) => by(&loader, program),
        _ => Vec::new(),
    }
}

/// The files that a program needs beside itself as its loader finds them: the loader, the libraries, the loader's cache. A library
/// that is not here is left out; the loader will name it when it is run.
#[must_use]
pub fn by(loader: &str, program: &Path) -> Vec<PathBuf> {
    // The program itself is not run: the loader lists what it would load.
    let listing = Command::new(loader).arg("--list").arg(program).output();
    let listing = listing.map(|output| output.stdout).unwrap_or_default();
    let mut files = parse(&String::from_utf8_lossy(&listing));
    files.extend([PathBuf::from(loader), PathBuf::from(CACHE)]);
    files.sort();
    files.dedup();
    files.retain(|path| path.is_file());
    files
}

/// Reads the loader's list. Lines are `NAME => PATH (ADDRESS)` or `PATH (ADDRESS)`.
fn parse(listing: &str) -> Vec<PathBuf> {
    let path = |line: &str| {
        let path = line.split_once(" => ").map_or(line, |(_, path)| path).trim();
        let (path, _) = path.rsplit_once(" (")?;
        path.starts_with('/').then(|| PathBuf::from(path))
    };
    listing.lines().filter_map(path).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loaders_list_gives_paths_only() {
        let listing = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f1)\n\
                       \tlibm.so => not found\n\t/lib64/ld-linux-x86-64.so.2 (0x00007f2)\n";
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(parse(listing), expected);
    }

    #[test]
    fn this_test_needs_a_loader_and_a_c_library() {
        let files = of(&std::env::current_exe().expect("the running test"));
        for name in ["/ld-linux-x86-64.so.2", "/libc.so.6"] {
            assert!(files.iter().any(|file| file.to_string_lossy().ends_with(name)), "{name} in {files:?}");
        }
    }
}
