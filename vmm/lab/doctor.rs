//! What the lab has, what it lacks, and how to get that.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::LabError;
use super::apt::output;
use super::cache::{self, Tree};
use super::parts::{self, Kernel, Qemu};

/// Prints where each part is, its version and its checksum, fetching what is missing.
///
/// # Errors
/// The first part that is missing and cannot be fetched, after all have been printed.
pub fn doctor() -> Result<(), LabError> {
    let qemu = Qemu::locate().map(|qemu| {
        let version = output(qemu.command().arg("--version"));
        println!(
            "QEMU      {}",
            version.as_deref().unwrap_or_else(|reason| reason).lines().next().unwrap_or_default()
        );
        print_file(&qemu.program);
        print_packages(&parts::QEMU, &qemu.program);
    });
    let kernel = Kernel::locate().map(|kernel| {
        println!("kernel    Linux {}", kernel.version);
        print_file(&kernel.image);
        for name in ["irqbypass", "kvm", "kvm-amd", "kvm-intel"] {
            match kernel.module(name) {
                Some(path) => print_file(&path),
                None => println!("          module {name}: missing"),
            }
        }
        print_packages(&parts::KERNEL, &kernel.image);
    });
    for result in [&qemu, &kernel] {
        if let Err(error) = result {
            println!("missing   {error}");
        }
    }
    qemu.and(kernel)
}

fn print_file(path: &Path) {
    let sum = output(Command::new("sha256sum").arg(path));
    let sum = sum.as_deref().unwrap_or_else(|reason| reason).split_whitespace().next().unwrap_or_default();
    println!("          {}\n            sha256 {sum}", path.display());
}

/// For a part from the cache: the packages that it was made of.
fn print_packages(tree: &Tree, file: &Path) {
    let Ok(folder) = tree.path() else { return };
    if file.starts_with(&folder) {
        let versions = fs::read_to_string(folder.join(cache::VERSIONS)).unwrap_or_default();
        println!(
            "          from {} packages, checksums in {}:",
            versions.lines().count(),
            folder.join(cache::CHECKSUMS).display()
        );
        for package in versions.lines() {
            println!("            {package}");
        }
    }
}
