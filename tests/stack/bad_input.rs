//! Each mistake of a user, and each lack of the host, is answered with one line that names cause and remedy, and
//! exit status 2.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::process::geteuid;

use crate::support::command::{Ended, bifold, run};
use crate::support::guests::{ARGS, WALK, tool};

/// `bifold run` with these options and a program that would work.
fn run_args<S: AsRef<OsStr>>(options: impl IntoIterator<Item = S>) -> Ended {
    run(bifold(["run"]).args(options).arg(ARGS))
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for option in ["--ram", "--host-ram", "--swap"] {
        for (size, word) in [
            ("0", option),
            ("4095", "4K"),
            ("5000", "4K"),
            ("-1", option),
            ("12X", option),
            ("", option),
            ("99999999999G", option),
        ] {
            run_args([format!("{option}={size}")]).refused(&[word]);
        }
    }
}

#[test]
fn more_ram_than_the_machine_can_have_is_refused() {
    run_args(["--ram", "4000G"]).refused(&["--ram"]);
    run_args(["--ram", "900000G"]).refused(&["--ram"]);
}

#[test]
fn guest_ram_too_small_to_run_in_is_refused() {
    run_args(["--ram", "4K"]).refused(&["--ram"]);
    run_args(["--ram", "512K"]).refused(&["--ram"]);
}

#[test]
fn a_host_budget_too_small_to_run_in_is_refused() {
    run_args(["--ram", "32M", "--host-ram", "4K"]).refused(&["--host-ram"]);
}

#[test]
fn policies_that_do_not_exist_are_refused_and_the_known_ones_named() {
    run_args(["--guest-policy", "mru"]).refused(&["mru", "fifo", "clock"]);
    run_args(["--host-policy", "mru"]).refused(&["mru", "fifo", "clock"]);
}

#[test]
fn unknown_options_and_missing_programs_are_refused() {
    run_args(["--no-such-option"]).refused(&["--no-such-option", "--help"]);
    run(&mut bifold(["run"])).refused(&["PROGRAM"]);
    run(&mut bifold(["no-such-command"])).refused(&["no-such-command"]);
}

#[test]
fn files_that_are_no_x86_64_programs_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let program = fs::read(ARGS).unwrap();
    let changed = |offset: usize, value: u8| {
        let mut bytes = program.clone();
        bytes[offset] = value;
        bytes
    };
    for (name, bytes, words) in [
        ("script", b"#!/bin/sh\necho hello\n".to_vec(), &["not an ELF"][..]),
        ("empty", Vec::new(), &["not an ELF"]),
        ("cut-in-header", program[..40].to_vec(), &["truncated"]),
        ("cut-in-segment", program[..program.len() / 2].to_vec(), &["truncated"]),
        ("32-bit", changed(4, 1), &["x86-64"]),
        ("aarch64", changed(18, 183), &["x86-64"]),
        ("object", changed(16, 1), &["not an executable"]),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).unwrap();
        let path = path.to_str().unwrap();
        run(&mut bifold(["run", path])).refused(&[&[path], words].concat());
    }
    // A dynamic program whose loader does not exist.
    let mut dynamic = fs::read(env!("CARGO_BIN_EXE_bifold")).unwrap();
    let loader = b"/lib64/ld-linux-x86-64.so.2\0";
    let at = dynamic.windows(loader.len()).position(|window| window == loader).unwrap();
    dynamic[at + 1..at + 4].copy_from_slice(b"bil");
    let path = folder.path().join("dynamic");
    fs::write(&path, dynamic).unwrap();
    run(bifold(["run"]).arg(&path)).refused(&["dynamic", "/bil64/ld-linux", "static"]);
    run(&mut bifold(["run", "/no/such/program"])).refused(&["/no/such/program"]);
    run(&mut bifold(["run", "/"])).refused(&["/"]);
}

#[test]
fn kernels_that_cannot_be_entered_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernel");
    fs::write(&path, "not a kernel").unwrap();
    run(bifold(["run", "--kernel"]).arg(&path)).refused(&["kernel", "ELF"]);
    run(&mut bifold(["run", "--kernel", "/no/such/kernel"])).refused(&["/no/such/kernel"]);
    // A program is linked where there is no guest RAM.
    run(&mut bifold(["run", "--ram", "2M", "--kernel", ARGS])).refused(&["--ram"]);
}

#[test]
fn files_that_cannot_be_given_are_refused() {
    run_args(["--file", "/no/such/file"]).refused(&["/no/such/file"]);
    run_args(["--file", "/"]).refused(&["/"]);
    run_args(["--file="]).refused(&["--file"]);
    run_args(["--file", "x:create=much"]).refused(&["--file", "much"]);
    run_args(["--file", "/no/such/folder/x:create=64K"]).refused(&["/no/such/folder/x"]);
    run_args(["--dir", "/no/such/folder"]).refused(&["/no/such/folder"]);
}

#[test]
fn stores_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("no-such-folder/store");
    let ended = run_args([
        OsStr::new("--ram=32M"),
        OsStr::new("--host-ram=8M"),
        "--store".as_ref(),
        missing.as_ref(),
    ]);
    ended.refused(&["no-such-folder"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_json_file_that_cannot_be_written_is_refused() {
    run_args(["--json", "/no/such/folder/report.json"]).refused(&["/no/such/folder/report.json"]);
}

/// The command in a mount namespace of its own, where `setup` has run: what it mounts is gone with the process.
pub fn on_a_host_where(setup: &str, arguments: &[&str]) -> Ended {
    let mut unshare = Command::new(tool("unshare", "util-linux"));
    unshare.arg("--mount");
    if !geteuid().is_root() {
        unshare.arg("--map-root-user");
    }
    let inner = bifold([""; 0]);
    unshare.args(["sh", "-ec", &format!("{setup}\nexec \"$@\""), "sh"]);
    run(unshare.arg(inner.get_program()).args(arguments).stdin(Stdio::null()))
}

#[test]
fn a_host_without_swap_is_named_where_its_kernel_is_to_page() {
    let arguments = ["--host=kvm", "run", "--ram=32M", "--host-ram=8M", "--host-pager=kernel", ARGS];
    let words = ["--host-pager kernel", "this host has none", "swapon"];
    on_a_host_where("mount --bind /dev/null /proc/swaps", &arguments).refused(&words);
    run_args(["--host-ram=8M", "--host-pager=zswap"]).refused(&["zswap", "uffd", "kernel"]);
    run_args(["--host-pager=kernel"]).refused(&["--host-ram"]);
}

#[test]
fn a_host_without_kvm_is_named() {
    on_a_host_where("mount -t tmpfs none /dev", &["--host=kvm", "run", ARGS]).refused(&["/dev/kvm"]);
}

#[test]
fn a_host_where_dev_kvm_is_something_else_is_named() {
    on_a_host_where("mount --bind /dev/null /dev/kvm", &["--host=kvm", "run", ARGS]).refused(&["/dev/kvm"]);
}

#[test]
fn a_user_who_may_not_use_kvm_is_told() {
    // Root without the right to pass over a file's mode.
    let setup = "mount -t tmpfs none /dev\n touch /dev/kvm\n chmod 0 /dev/kvm\n\
         set -- setpriv --bounding-set=-dac_override,-dac_read_search --inh-caps=-all \"$@\"";
    on_a_host_where(setup, &["--host=kvm", "run", ARGS]).refused(&["/dev/kvm", "permission"]);
}

#[test]
fn a_store_on_a_full_disk_is_refused_before_the_guest_starts() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().to_str().unwrap();
    let store: PathBuf = Path::new(disk).join("store");
    let setup = format!("mount -t tmpfs -o size=1M none {disk}");
    let arguments = [
        "run",
        "--ram=64M",
        "--host-ram=8M",
        "--store",
        store.to_str().unwrap(),
        WALK,
        "32M",
        "seq",
        "write",
    ];
    on_a_host_where(&setup, &arguments).refused(&["space"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
