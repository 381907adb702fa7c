//! Builds the guest kernel, the bundled programs and the lab's process 1, so that `cargo build` is all that
//! is needed.
//!
//! They are separate cargo runs with target directories under OUT_DIR, because their flags differ from the
//! host's: the kernel has no SSE and no red zone, the others are linked statically.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs that are bundled, by their name in guest-kernel/programs/.
const PROGRAMS: &[&str] = &[
    "args",
    "conform",
    "cost",
    "crash",
    "explore",
    "faults",
    "overcommit",
    "references",
    "simd",
    "sort",
    "stress",
    "tick",
    "walk",
    "work",
];

/// Fat LTO together with the target features is what keeps SSE out of the kernel: core's prebuilt
/// code is compiled again without it.
const KERNEL_FLAGS: &[&str] = &[
    "-Crelocation-model=static",
    "-Ccode-model=kernel",
    "-Cpanic=abort",
    "-Cno-redzone=yes",
    "-Ctarget-feature=-mmx,-sse,-sse2,+soft-float",
    "-Clinker=rust-lld",
    "-Clinker-flavor=ld.lld",
    "-Clink-arg=-static",
    "-Clink-arg=-zmax-page-size=4096",
];
const PROGRAM_FLAGS: &[&str] = &["-Ctarget-feature=+crt-static", "-Crelocation-model=static"];

fn main() {
    let root = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(variable("OUT_DIR"));
    for watched in ["abi", "paging", "kernel", "programs"] {
        println!("cargo::rerun-if-changed=guest-kernel/{watched}");
    }
    println!("cargo::rerun-if-changed=vmm/lab/init");
    println!("cargo::rerun-if-changed=Cargo.lock");

    let script = root.join("guest-kernel/kernel/kernel.ld");
    let mut flags: Vec<String> = KERNEL_FLAGS.iter().map(ToString::to_string).collect();
    flags.push(format!("-Clink-arg=-T{}", script.display()));
    let kernel = build(
        &root,
        &out.join("kernel"),
        &["-p", "kernel", "--bin", "kernel", "--features", "image"],
        &flags,
    );
    println!("cargo::rustc-env=BIFOLD_KERNEL={}", kernel.join("kernel").display());

    let flags: Vec<String> = PROGRAM_FLAGS.iter().map(ToString::to_string).collect();
    let programs = build(&root, &out.join("programs"), &["-p", "programs", "--bins"], &flags);
    for program in PROGRAMS {
        let variable = format!("BIFOLD_PROGRAM_{}", program.to_uppercase().replace('-', "_"));
        println!("cargo::rustc-env={variable}={}", programs.join(program).display());
    }
    let lab = build(&root, &out.join("programs"), &["-p", "lab-init", "--bin", "init"], &flags);
    println!("cargo::rustc-env=BIFOLD_LAB_INIT={}", lab.join("init").display());
}

/// Runs cargo on one package and returns the folder with what it built.
fn build(root: &Path, target: &Path, what: &[&str], flags: &[String]) -> PathBuf {
    let status = Command::new(variable("CARGO"))
        .current_dir(root)
        .args(["build", "--profile", "guest", "--target", "x86_64-unknown-linux-gnu", "--target-dir"])
        .arg(target)
        .args(what)
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"))
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cannot build {what:?} with its own flags; the compiler's message is above"
    );
    target.join("x86_64-unknown-linux-gnu/guest")
}

fn variable(name: &str) -> OsString {
    env::var_os(name).unwrap_or_else(|| panic!("cargo did not set {name}"))
}
