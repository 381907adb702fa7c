//! Programs to run: the bundled ones, compiled ones, and busybox.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::run;

pub const ARGS: &str = env!("BIFOLD_PROGRAM_ARGS");
pub const CRASH: &str = env!("BIFOLD_PROGRAM_CRASH");
pub const FAULTS: &str = env!("BIFOLD_PROGRAM_FAULTS");
pub const SIMD: &str = env!("BIFOLD_PROGRAM_SIMD");
pub const SORT: &str = env!("BIFOLD_PROGRAM_SORT");
pub const WALK: &str = env!("BIFOLD_PROGRAM_WALK");

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/guests");

/// Debian's static busybox.
pub fn busybox() -> &'static str {
    let path = "/bin/busybox";
    assert!(Path::new(path).exists(), "this test needs {path}: apt-get install busybox-static");
    path
}

/// Compiles a C source of guests/ with `flags` (`-static`).
pub fn compile_c(source: &str, flags: &[&str], folder: &Path) -> PathBuf {
    let program = folder.join(source.trim_end_matches(".c"));
    let mut gcc = Command::new(tool("gcc", "gcc libc6-dev"));
    run(gcc.args(["-O2", "-o"]).arg(&program).args(flags).arg(Path::new(SOURCES).join(source))).succeeded();
    program
}

/// Compiles a Rust source of guests/ as a user would for a static program.
pub fn compile_rust(source: &str, folder: &Path) -> PathBuf {
    let program = folder.join(source.trim_end_matches(".rs"));
    let mut rustc = Command::new("rustc");
    rustc.args(["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-o"]).arg(&program);
    run(rustc.arg(Path::new(SOURCES).join(source))).succeeded();
    program
}

/// Where a tool is; `package` is what Debian's package with it is called.
pub fn tool(name: &str, package: &str) -> PathBuf {
    std::env::var_os("PATH")
        .and_then(|path| {
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists())
        })
        .unwrap_or_else(|| panic!("this test needs {name}: apt-get install {package}"))
}
