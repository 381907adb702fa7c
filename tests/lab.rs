//! The lab, from boot to exit status. These tests need no /dev/kvm, but QEMU and a kernel: installed, or to be had
//! from apt.

// A test says with `unwrap` and `expect` what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "stack/support/elf.rs"]
mod elf;

use std::fs;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// `mov dx, 0xf4; mov eax, 42; out dx, eax`: ends the guest with exit status 42.
const EXIT_42: &[u8] = &[0x66, 0xba, 0xf4, 0x00, 0xb8, 42, 0, 0, 0, 0xef];
/// The same with exit status 0.
const EXIT_0: &[u8] = &[0x66, 0xba, 0xf4, 0x00, 0x31, 0xc0, 0xef];
/// `jmp .`
const LOOP: &[u8] = &[0xeb, 0xfe];

#[test]
fn a_job_has_its_files_its_streams_and_its_exit_status() {
    let (folder, _) = kernel(EXIT_42);
    let output =
        lab(&["--memory", "1G"], &["run", "--kernel", "kernel"]).current_dir(&folder).output().unwrap();
    assert_eq!(text(&output), ("!", ""), "{output:?}");
    assert_eq!(output.status.code(), Some(42));
}

#[test]
fn a_program_pages_under_nested_paging_and_reads_the_standard_input_of_its_user() {
    let job =
        ["run", "--ram=8M", "--swap=32M", "--host-ram=4M", "--", env!("BIFOLD_PROGRAM_ARGS"), "an argument"];
    let mut command = lab(&[], &job);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lab = command.spawn().unwrap();
    let input = vec![7; 100_000];
    lab.stdin.take().unwrap().write_all(&input).unwrap();
    let output = lab.wait_with_output().unwrap();
    let (out, _) = text(&output);
    assert!(out.contains("argument 1: an argument") && out.contains("input: 100000 bytes"), "{out}");
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_count_is_the_same_twice() {
    let (folder, path) = kernel(EXIT_0);
    let baseline = folder.path().join("counts.json");
    let counted = || {
        let mut command = the_command(&["lab", "count", "--save"]);
        command.arg(&baseline).args(["--", "run", "--kernel"]).arg(&path);
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        fs::read_to_string(&baseline).unwrap()
    };
    let first = counted();
    assert!(first.contains("\"elapsed\""), "{first}");
    assert_eq!(first, counted());
}

#[test]
fn a_machine_without_kvm_goes_through_the_lab() {
    let (_folder, path) = kernel(EXIT_42);
    let mut unshare = Command::new("unshare");
    unshare.args([
        "--mount",
        "--map-root-user",
        "sh",
        "-ec",
        "mount --bind /dev/null /dev/kvm; exec \"$@\"",
        "sh",
    ]);
    unshare.arg(the_command(&[]).get_program()).args(["run", "--kernel"]).arg(&path).stdin(Stdio::null());
    let output = unshare.output().unwrap();
    let (out, err) = text(&output);
    assert_eq!(out, "!", "{err}");
    assert!(err.lines().count() == 1 && err.contains("in the lab"), "{err}");
    assert_eq!(output.status.code(), Some(42));
}

#[test]
fn a_job_that_hangs_is_ended_and_leaves_no_process() {
    let (_folder, path) = kernel(LOOP);
    let output = lab(&["--timeout", "20"], &["run", "--kernel", path.to_str().unwrap()]).output().unwrap();
    let (out, err) = text(&output);
    assert_eq!(out, "!");
    assert!(err.lines().last().unwrap().starts_with("bifold: the lab was ended after 20 s"), "{err}");
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn a_killed_emulator_is_one_line() {
    let (_folder, path) = kernel(LOOP);
    let mut command = lab(&[], &["run", "--kernel", path.to_str().unwrap()]);
    let mut lab = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // The guest's byte says that the machine is up; what runs it is the lab's only child.
    lab.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", lab.id())).unwrap();
    let emulator = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
    kill_process(emulator, Signal::KILL).unwrap();
    refused(&lab.wait_with_output().unwrap(), &["ended without a result", "SIGKILL"]);
}

#[test]
fn what_the_lab_cannot_do_without_is_named_with_its_remedy() {
    let empty = tempfile::tempdir().unwrap();
    let output =
        lab(&[], &["--version"]).env("PATH", "").env("XDG_CACHE_HOME", empty.path()).output().unwrap();
    refused(&output, &["apt-get install"]);
}

#[test]
fn too_little_memory_is_refused_with_what_it_takes() {
    refused(&lab(&["--memory", "64M"], &["--version"]).output().unwrap(), &["64 MiB", "--memory"]);
}

#[test]
fn a_module_that_does_not_load_is_named() {
    let output = lab(&["--kernel-param", "module_blacklist=kvm"], &["--version"]).output().unwrap();
    refused(&output, &["does not load module", "kvm.ko"]);
}

fn lab(options: &[&str], job: &[&str]) -> Command {
    let mut command = the_command(&["lab", "run"]);
    command.args(options).arg("--").args(job);
    command
}

fn the_command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bifold"));
    command.args(arguments).stdin(Stdio::null()).env_remove("RUST_LOG");
    command
}

/// A kernel that writes `!` and goes on with `code`, in a folder that goes with the first value.
fn kernel(code: &[u8]) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kernel");
    fs::write(&path, elf::kernel(&[elf::WRITE_BYTE, code].concat())).unwrap();
    (folder, path)
}

fn text(output: &Output) -> (&str, &str) {
    (str::from_utf8(&output.stdout).unwrap(), str::from_utf8(&output.stderr).unwrap())
}

/// One line on standard error with all of `words`, exit status 2.
#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let (_, err) = text(output);
    assert_eq!(output.status.code(), Some(2), "{err}");
    assert_eq!(err.lines().count(), 1, "{err}");
    for word in words {
        assert!(err.contains(word), "wanted {word:?} in: {err}");
    }
}
