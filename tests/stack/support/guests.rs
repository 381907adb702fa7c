//! Programs to run: the bundled ones, compiled ones, and busybox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::command::run;

pub const ARGS: &str = env!("BIFOLD_PROGRAM_ARGS");
pub const CONFORM: &str = env!("BIFOLD_PROGRAM_CONFORM");
pub const CRASH: &str = env!("BIFOLD_PROGRAM_CRASH");
pub const FAULTS: &str = env!("BIFOLD_PROGRAM_FAULTS");
pub const REFERENCES: &str = env!("BIFOLD_PROGRAM_REFERENCES");
pub const SIMD: &str = env!("BIFOLD_PROGRAM_SIMD");
pub const SORT: &str = env!("BIFOLD_PROGRAM_SORT");
pub const STRESS: &str = env!("BIFOLD_PROGRAM_STRESS");
pub const WALK: &str = env!("BIFOLD_PROGRAM_WALK");
pub const WORK: &str = env!("BIFOLD_PROGRAM_WORK");

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stack/guests");

/// Debian's static busybox.
pub fn busybox() -> &'static str {
    // The first is a link to the second on most machines, and missing in the lab.
    let found = ["/bin/busybox", "/usr/bin/busybox"].into_iter().find(|path| Path::new(path).exists());
    found.expect("this test needs busybox: apt-get install busybox-static")
}

/// Compiles a C source of guests/ with `flags` (`-static`).
pub fn compile_c(source: &str, flags: &[&str]) -> PathBuf {
    compiled(source, &flags.concat(), |program| {
        let mut gcc = Command::new(tool("gcc", "gcc libc6-dev"));
        gcc.args(["-O2", "-o"]).arg(program).args(flags).arg(Path::new(SOURCES).join(source));
        gcc
    })
}

/// Compiles a Rust source of guests/ as a user would for a static program.
pub fn compile_rust(source: &str) -> PathBuf {
    compiled(source, "", |program| {
        let mut rustc = Command::new("rustc");
        rustc.args(["--edition=2024", "-O", "-C", "target-feature=+crt-static", "-o"]).arg(program);
        rustc.arg(Path::new(SOURCES).join(source));
        rustc
    })
}

/// Compiles a Go source of guests/.
pub fn compile_go(source: &str) -> PathBuf {
    compiled(source, "", |program| {
        let mut go = Command::new(tool("go", "golang-go"));
        // A cache of its own: there may be no home.
        let cache = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("go-cache");
        go.env("GOCACHE", cache).env("CGO_ENABLED", "0").args(["build", "-o"]).arg(program);
        go.arg(Path::new(SOURCES).join(source));
        go
    })
}

/// Debian's Python, and a folder for PYTHONHOME that has of its library what it reads at its start, as a program of few files.
pub fn python() -> (PathBuf, PathBuf) {
    const LIST: &str = "import sys\nfor m in list(sys.modules.values()):\n f = getattr(m, '__file__', None)\n if f: print(f)";
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("python");
    let program = home.join("python3");
    if !program.exists() {
        let installed = Path::new("/usr/bin/python3");
        assert!(installed.exists(), "this test needs python3: apt-get install python3-minimal");
        let fresh = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let modules = run(Command::new(installed).args(["-I", "-S", "-c", LIST])).succeeded().out;
        for module in modules.lines().filter_map(|path| path.strip_prefix("/usr/")) {
            let copy = fresh.path().join(module);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(Path::new("/usr").join(module), copy).unwrap();
        }
        fs::copy(installed, fresh.path().join("python3")).unwrap();
        // Tests prepare side by side: who comes second finds it there.
        let _ = fs::rename(fresh.keep(), &home);
    }
    (program, home)
}

/// The program from `source`, compiled unless an earlier run has left it: the lab, where there is no compiler, gets
/// those that were made outside.
fn compiled(source: &str, flags: &str, compiler: impl Fn(&Path) -> Command) -> PathBuf {
    let age = |path: &Path| path.metadata().and_then(|metadata| metadata.modified());
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{source}{flags}.program"));
    let newest = age(&Path::new(SOURCES).join(source)).unwrap();
    if !age(&program).is_ok_and(|age| age >= newest) {
        // Tests compile side by side: each its own file, and whoever is last puts the same in place.
        let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let fresh = folder.path().join("program");
        run(&mut compiler(&fresh)).succeeded();
        fs::rename(fresh, &program).unwrap();
    }
    program
}

#[test]
fn compile_the_guest_programs() {
    compile_c("big.c", &["-static"]);
    compile_c("big.c", &["-static-pie"]);
    for source in ["corrupt.c", "fork_bomb.c", "itself.c", "out_of_memory.c", "wild.c"] {
        compile_c(source, &["-static"]);
    }
    compile_rust("big.rs");
    compile_rust("threads.rs");
    compile_go("garbage.go");
    python();
}

/// Where a tool is; `package` is what Debian's package with it is called.
pub fn tool(name: &str, package: &str) -> PathBuf {
    std::env::var_os("PATH")
        .and_then(|path| {
            std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.exists())
        })
        .unwrap_or_else(|| panic!("this test needs {name}: apt-get install {package}"))
}
