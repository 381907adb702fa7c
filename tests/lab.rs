//! The lab, from boot to exit status. These tests need no /dev/kvm, but QEMU and a kernel: installed, or to be had
//! from apt.

// A test says with `unwrap` and `expect` what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "stack/support/elf.rs"]
mod elf;

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

/// `mov dx, 0xf4; mov eax, 42; out dx, eax`: ends the guest with exit status 42.
const EXIT_42: &[u8] = &[0x66, 0xba, 0xf4, 0x00, 0xb8, 42, 0, 0, 0, 0xef];
/// The same with exit status 0.
const EXIT_0: &[u8] = &[0x66, 0xba, 0xf4, 0x00, 0x31, 0xc0, 0xef];
/// `jmp .`
const LOOP: &[u8] = &[0xeb, 0xfe];

/// Stands for a test binary. It has one test, which fails after it has said where it runs.
const TEST_BINARY: &str = r#"
case $* in
*one*--list) echo "one: test" ;;
*--list | compile_*) ;;
*) test -e /lab/spec.json && where=lab; echo "$* in the ${where:-open}"; exit 101 ;;
esac"#;

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
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("report.json");
    let mut command = lab(&[], &["run", "--ram=8M", "--swap=32M", "--host-ram=4M", "--json"]);
    command.arg(&report).args(["--", env!("BIFOLD_PROGRAM_ARGS"), "an argument"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut lab = command.spawn().unwrap();
    let input = vec![7; 100_000];
    lab.stdin.take().unwrap().write_all(&input).unwrap();
    let output = lab.wait_with_output().unwrap();
    let (out, _) = text(&output);
    assert!(out.contains("argument 1: an argument") && out.contains("input: 100000 bytes"), "{out}");
    assert_eq!(output.status.code(), Some(0));
    let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["second_level"], json!({ "translation": "npt", "module": "kvm_amd" }), "{report}");
    assert!(report["host"]["minor_faults"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn without_npt_the_report_says_that_page_tables_are_shadowed() {
    let job = ["run", "--stats", "--ram=8M", "--", env!("BIFOLD_PROGRAM_ARGS")];
    let output = lab(&["--npt", "off"], &job).output().unwrap();
    let (_, err) = text(&output);
    assert!(err.contains("second level: shadow page tables (kvm_amd)"), "{err}");
    assert_eq!(output.status.code(), Some(0));
}

/// KVM's own statistics say with what it has mapped the guest's 32 MiB, the kernel and tables.
#[test]
fn the_second_level_maps_pages_of_the_backings_size() {
    let walk = ["--store=memory", env!("BIFOLD_PROGRAM_WALK"), "32M", "seq", "write"];
    let mapped = |machine: &[&str], guest: &[&str]| {
        let folder = tempfile::tempdir().unwrap();
        let report = folder.path().join("report.json");
        let mut command = lab(machine, &["run"]);
        let output = command.args(guest).arg("--json").arg(&report).args(walk).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let report: Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
        assert_eq!(report["second_level"]["translation"], "npt");
        ["pages_4k", "pages_2m", "pages_1g"].map(|size| report["kvm"][size].as_u64().unwrap())
    };
    let small = mapped(&[], &["--ram=64M", "--backing=4k"]);
    assert!(small[0] > 8192 && small[1..] == [0, 0], "{small:?}");
    let transparent = mapped(&[], &["--ram=64M", "--backing=thp"]);
    assert!(transparent[0] < 512 && (16..=32).contains(&transparent[1]), "{transparent:?}");
    let huge_2m = mapped(&["--hugepages=2M=32"], &["--ram=64M", "--backing=hugetlb-2m"]);
    assert!(huge_2m[0] == 0 && (16..=32).contains(&huge_2m[1]), "{huge_2m:?}");
    let huge_1g = mapped(&["--memory=5G", "--hugepages=1G=1"], &["--ram=1G", "--backing=hugetlb-1g"]);
    assert_eq!(huge_1g, [0, 0, 1]);
}

/// Bochs takes minutes.
#[test]
#[ignore = "takes minutes: cargo test --test lab -- --ignored"]
fn intels_machine_has_ept_and_can_do_without() {
    for (ept, second_level) in [("on", "EPT (kvm_intel)"), ("off", "shadow page tables (kvm_intel)")] {
        let job = ["run", "--stats", "--ram=8M", "--", env!("BIFOLD_PROGRAM_ARGS")];
        let output = lab(&["--cpu", "intel", "--ept", ept], &job).output().unwrap();
        let (_, err) = text(&output);
        assert!(err.contains(&format!("second level: {second_level}")), "{err}");
        assert_eq!(output.status.code(), Some(0));
    }
}

#[test]
fn the_machine_is_what_was_asked_for() {
    let options = ["--memory=5G", "--smp=3", "--hugepages=2M=64,1G=1", "--kernel-param=ignore_loglevel"];
    let mut command = lab(&options, &["--version"]);
    let output = command.env("RUST_LOG", "debug").output().unwrap();
    // Its kernel's own words.
    let (_, console) = text(&output);
    for words in [
        "ignore_loglevel",
        "Brought up 1 node, 3 CPUs",
        "1.00 GiB page size, pre-allocated 1 pages",
        "2.00 MiB page size, pre-allocated 64 pages",
    ] {
        assert!(console.contains(words), "wanted {words:?} in: {console}");
    }
    assert_eq!(memory_kib(console), 5 << 20, "{console}");
    assert_eq!(output.status.code(), Some(0));
}

/// What the kernel says it has in all, as `Memory: 1234K/5242000K available`, rounded: the firmware keeps a little.
#[track_caller]
fn memory_kib(console: &str) -> u64 {
    let all = console.split("Memory: ").nth(1).and_then(|rest| rest.split(['/', 'K']).nth(2));
    all.unwrap().parse::<u64>().unwrap().next_multiple_of(1 << 20)
}

#[test]
fn a_file_that_cannot_be_written_here_cannot_be_written_there() {
    let folder = tempfile::tempdir().unwrap();
    let report = folder.path().join("no-such-folder/report.json");
    let job = ["run", "--json", report.to_str().unwrap(), env!("BIFOLD_PROGRAM_ARGS")];
    refused(&lab(&[], &job).output().unwrap(), &["no-such-folder/report.json", "--json"]);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn qemu_on_the_path_is_taken() {
    let folder = tempfile::tempdir().unwrap();
    script(&folder.path().join("qemu-system-x86_64"), "echo the version of this one");
    let output = the_command(&["lab", "doctor"]).env("PATH", path_after(folder.path())).output().unwrap();
    let (out, err) = text(&output);
    assert!(out.contains("the version of this one"), "{out}{err}");
    assert!(out.contains(folder.path().to_str().unwrap()), "{out}");
}

#[test]
fn without_qemu_on_the_path_the_cached_one_boots() {
    let folder = tempfile::tempdir().unwrap();
    for program in
        env::split_paths(&env::var_os("PATH").unwrap()).filter_map(|path| fs::read_dir(path).ok()).flatten()
    {
        let program = program.unwrap();
        let name = program.file_name();
        if !name.to_string_lossy().starts_with("qemu-system") {
            // The first of a name counts, as on the PATH.
            let _ = symlink(program.path(), folder.path().join(name));
        }
    }
    let doctor = the_command(&["lab", "doctor"]).env("PATH", folder.path()).output().unwrap();
    let (out, err) = text(&doctor);
    assert!(out.contains("bifold/lab/qemu/usr/bin/qemu-system-x86_64"), "{out}{err}");
    let output = lab(&[], &["--version"]).env("PATH", folder.path()).output().unwrap();
    assert!(text(&output).0.starts_with("bifold "), "{output:?}");
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
    let mut command = without_kvm(the_command(&[]).get_program());
    let output = command.args(["run", "--kernel"]).arg(&path).output().unwrap();
    let (out, err) = text(&output);
    assert_eq!(out, "!", "{err}");
    assert!(err.lines().count() == 1 && err.contains("in the lab"), "{err}");
    assert_eq!(output.status.code(), Some(42));
}

/// What cargo starts for `cargo test`, with a test binary that is a script.
#[test]
fn without_kvm_cargos_runner_takes_the_tests_of_the_whole_stack_to_the_lab() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("deps")).unwrap();
    symlink(the_command(&[]).get_program(), folder.path().join("bifold")).unwrap();
    let binary = folder.path().join("deps/stack-0123456789abcdef");
    script(&binary, TEST_BINARY);
    let run = |arguments: &[&str]| {
        let mut command = without_kvm(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/runner").as_ref());
        command.arg(&binary).args(arguments).output().unwrap()
    };
    let output = run(&["--exact", "one"]);
    let (out, err) = text(&output);
    assert_eq!(out, "--exact one in the lab\n", "{err}");
    assert!(err.lines().count() == 1 && err.contains("in the lab"), "{err}");
    assert_eq!(output.status.code(), Some(101));
    // A filter that means another binary: nothing to start a machine for.
    assert_eq!(text(&run(&["another"])), ("another in the open\n", ""));
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
fn huge_pages_that_do_not_fit_are_refused() {
    let output = lab(&["--memory=3G", "--hugepages=1G=2"], &["--version"]).output().unwrap();
    refused(&output, &["of 2 huge pages of 1024 MiB", "--memory"]);
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

/// A command on a machine whose /dev/kvm is none, for arguments to be added.
fn without_kvm(program: &OsStr) -> Command {
    let mut command = Command::new("unshare");
    command.args([
        "--mount",
        "--map-root-user",
        "sh",
        "-ec",
        "mount --bind /dev/null /dev/kvm; exec \"$@\"",
        "sh",
    ]);
    command.arg(program).stdin(Stdio::null());
    command
}

fn script(path: &Path, commands: &str) {
    fs::write(path, format!("#!/bin/sh\n{commands}\n")).unwrap();
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// The PATH, with another folder before it.
fn path_after(first: &Path) -> OsString {
    let path = env::var_os("PATH").unwrap();
    env::join_paths([first.to_owned()].into_iter().chain(env::split_paths(&path))).unwrap()
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
