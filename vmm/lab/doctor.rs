//! What the lab has, what it lacks, and how to get that.

use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::LabError;
use super::apt::output;
use super::cache::{self, Tree};
use super::parts::{self, Kernel, Qemu};

/// Says where each part is, its version and its checksum, fetching what is missing. The second answer is the first
/// part that is missing and cannot be fetched.
pub fn doctor() -> (String, Result<(), LabError>) {
    let mut text = String::new();
    let qemu = Qemu::locate().map(|qemu| {
        let version = output(qemu.command().arg("--version"));
        line(
            &mut text,
            format_args!(
                "QEMU      {}",
                version.as_deref().unwrap_or_else(|reason| reason).lines().next().unwrap_or_default()
            ),
        );
        add_file(&mut text, &qemu.program);
        add_packages(&mut text, &parts::QEMU, &qemu.program);
    });
    let kernel = Kernel::locate().map(|kernel| {
        line(&mut text, format_args!("kernel    Linux {}", kernel.version));
        add_file(&mut text, &kernel.image);
        for name in ["irqbypass", "kvm", "kvm-amd", "kvm-intel"] {
            match kernel.module(name) {
                Some(path) => add_file(&mut text, &path),
                None => line(&mut text, format_args!("          module {name}: missing")),
            }
        }
        add_packages(&mut text, &parts::KERNEL, &kernel.image);
    });
    for result in [&qemu, &kernel] {
        if let Err(error) = result {
            line(&mut text, format_args!("missing   {error}"));
        }
    }
    (text, qemu.and(kernel))
}

/// Adds a line; writing to a string cannot fail.
fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = writeln!(text, "{line}");
}

fn add_file(text: &mut String, path: &Path) {
    let sum = output(Command::new("sha256sum").arg(path));
    let sum = sum.as_deref().unwrap_or_else(|reason| reason).split_whitespace().next().unwrap_or_default();
    line(text, format_args!("          {}\n            sha256 {sum}", path.display()));
}

/// For a part from the cache: the packages that it was made of.
fn add_packages(text: &mut String, tree: &Tree, file: &Path) {
    let Ok(folder) = tree.path() else { return };
    if file.starts_with(&folder) {
        let versions = fs::read_to_string(folder.join(cache::VERSIONS)).unwrap_or_default();
        line(
            text,
            format_args!(
                "          from {} packages, checksums in {}:",
                versions.lines().count(),
                folder.join(cache::CHECKSUMS).display()
            ),
        );
        for package in versions.lines() {
            line(text, format_args!("            {package}"));
        }
    }
}
