//! Programs in the guest behave as they do natively: what they are given, what they print, how they end.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::support::command::{Ended, Running, bifold, run, run_with_input};
use crate::support::guests::{ARGS, CRASH, FAULTS, SIMD, busybox, compile_c, compile_rust};

/// Runs `program` in the guest and natively and wants the same output, errors and exit status.
#[track_caller]
fn same_as_native(program: &str, arguments: &[&str]) -> Ended {
    let native = run(Command::new(program).args(arguments).env_clear().stdin(Stdio::null()));
    let guest = run(&mut bifold(["run", "--", program].iter().chain(arguments)));
    assert_eq!((guest.status, &guest.out, &guest.err), (native.status, &native.out, &native.err));
    guest
}

/// The lines of `args` that do not depend on the environment.
fn without_environment(out: &str) -> Vec<&str> {
    out.lines().filter(|line| !line.starts_with("environment: ")).collect()
}

#[test]
fn a_program_gets_its_arguments_and_input_and_both_outputs_stay_apart() {
    let input: Vec<u8> = (0..1_000_000u32).flat_map(u32::to_le_bytes).collect();
    let arguments = [ARGS, "one", "two words", "", "-v", "--ram", "ünïcode"];
    let native = run_with_input(Command::new(ARGS).args(&arguments[1..]), &input).succeeded();
    let guest = run_with_input(&mut bifold(["run", "--"].iter().chain(&arguments)), &input).succeeded();
    assert_eq!(without_environment(&guest.out), without_environment(&native.out));
    assert_eq!(guest.err, "this goes to standard error\n");
}

#[test]
fn a_program_gets_the_environment_that_it_is_given() {
    let ended = run(&mut bifold(["run", "--env", "COLOUR=deep blue", "--env", "EMPTY=", ARGS])).succeeded();
    let environment: Vec<_> = ended.out.lines().filter(|line| line.starts_with("environment: ")).collect();
    assert!(environment.contains(&"environment: COLOUR=deep blue"), "{environment:?}");
    assert!(environment.contains(&"environment: EMPTY="), "{environment:?}");
}

#[test]
fn a_program_reads_standard_input_as_it_comes_and_sees_its_end() {
    let mut running = Running::start(bifold(["run", busybox(), "cat"]).stdin(Stdio::piped()));
    let mut stdin = running.stdin();
    for line in ["first\n", "second\n"] {
        std::io::Write::write_all(&mut stdin, line.as_bytes()).unwrap();
        running.wait_for_output(line);
    }
    drop(stdin);
    assert_eq!(running.wait().succeeded().out, "first\nsecond\n");
}

#[test]
fn every_exit_status_and_every_deadly_signal_comes_back_as_a_shell_says_it() {
    for status in ["0", "1", "2", "3", "42", "255"] {
        same_as_native(CRASH, &[status]).with_status(status.parse().unwrap());
    }
    let deaths = [
        ("null", 11),
        ("write-text", 11),
        ("run-data", 11),
        ("wild-jump", 11),
        ("kernel-address", 11),
        ("non-canonical", 11),
        ("below-stack", 11),
        ("recursion", 11),
        ("privileged", 11),
        ("bad-opcode", 4),
        ("divide", 8),
        ("breakpoint", 5),
        ("abort", 6),
    ];
    for (way, signal) in deaths {
        let native = run(Command::new(CRASH).arg(way));
        let guest = run(&mut bifold(["run", CRASH, way])).with_status(128 + signal);
        assert_eq!(guest.status, native.status, "{way}");
    }
}

#[test]
fn vector_registers_survive_faults_and_timer_ticks() {
    let ended =
        run(&mut bifold(["run", "--ram", "6M", "--swap", "64M", "--", SIMD, "8M", "300"])).succeeded();
    assert!(ended.out.starts_with("registers unchanged"), "{}", ended.out);
}

/// One number a page, and a few for what else the program touches meanwhile.
#[test]
fn a_program_counts_its_own_faults() {
    let ended = run(&mut bifold(["run", "--ram", "6M", "--swap", "64M", "--", FAULTS, "8M"])).succeeded();
    let counts = |pass: &str| -> (u64, u64) {
        let line = ended.out.lines().find(|line| line.starts_with(pass)).unwrap();
        let mut numbers = line[pass.len()..].split_whitespace().map(|word| word.parse().unwrap_or_default());
        (numbers.next().unwrap(), numbers.next().unwrap())
    };
    let pages = 8 * 256;
    let (first_minor, _) = counts("first write");
    assert!((pages..pages + 100).contains(&first_minor), "{}", ended.out);
    let (_, again_major) = counts("written again");
    assert!(again_major > pages / 4, "most of it was swapped out: {}", ended.out);
}

#[test]
fn output_that_nobody_reads_ends_the_program_as_natively() {
    let mut shell = Command::new("bash");
    shell.args(["-c", "\"$0\" run -- \"$1\" yes | head -n 1; exit ${PIPESTATUS[0]}"]);
    shell.arg(bifold([""; 0]).get_program()).arg(busybox());
    let ended = run(shell.stdin(Stdio::null())).with_status(141);
    assert_eq!(ended.out, "y\n");
}

#[test]
fn static_c_programs_run() {
    for flags in [&["-static"][..], &["-static-pie"]] {
        let program = compile_c("big.c", flags);
        same_as_native(program.to_str().unwrap(), &["2"]).succeeded();
    }
}

#[test]
fn a_program_reads_its_own_code_while_it_runs_it() {
    same_as_native(compile_c("itself.c", &["-static"]).to_str().unwrap(), &[]).succeeded();
}

#[test]
fn static_rust_programs_run() {
    let program = compile_rust("big.rs");
    same_as_native(program.to_str().unwrap(), &["2"]).succeeded();
}

/// Runs a busybox applet on the file `/data` of the guest and natively, with the same output.
#[track_caller]
fn applet(host: &Path, arguments: &[&str]) {
    let native = run(Command::new(busybox()).args(arguments).arg(host)).succeeded();
    let file = format!("{}:/data", host.display());
    let mut guest =
        bifold(["run", "--file", &file, "--", busybox()].iter().chain(arguments).chain(&["/data"]));
    let guest = run(&mut guest).succeeded();
    assert_eq!(guest.out, native.out.replace(host.to_str().unwrap(), "/data"), "{arguments:?}");
}

#[test]
fn busybox_applets_work_on_files_of_the_host() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    let lines: Vec<String> = (0..5000u64).map(|n| format!("{} line {n}\n", n * 7919 % 5000)).collect();
    fs::write(&text, lines.concat()).unwrap();
    for arguments in [
        &["cat"][..],
        &["wc"],
        &["md5sum"],
        &["sha256sum"],
        &["sort", "-n"],
        &["head", "-n", "3"],
        &["tail", "-n", "3"],
        &["grep", "-c", "99"],
        &["od", "-c"],
        &["sed", "-n", "s/line 1/LINE/p"],
        &["awk", "{ sum += $1 } END { print sum, NR }"],
    ] {
        applet(&text, arguments);
    }
    same_as_native(busybox(), &["sh", "-c", "i=0; while [ $i -lt 20 ]; do i=$((i+1)); echo $i; done"]);
    same_as_native(busybox(), &["cat", "/no/such/file"]).with_status(1);
}

#[test]
fn a_writable_file_of_the_host_takes_the_guests_writes_and_a_read_only_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let host = folder.path().join("file");
    let before = vec![b'a'; 10_000];
    let dd = |options: &str| {
        fs::write(&host, &before).unwrap();
        let file = format!("{}:/data{options}", host.display());
        let arguments =
            ["run", "--file", &file, "--", busybox(), "dd", "of=/data", "bs=1", "seek=4090", "conv=notrunc"];
        run_with_input(&mut bifold(arguments), b"0123456789")
    };
    dd("").succeeded();
    let mut after = before.clone();
    after[4090..4100].copy_from_slice(b"0123456789");
    assert!(fs::read(&host).unwrap() == after, "ten bytes changed, over the end of a page");

    assert_ne!(dd(":ro").status, 0);
    assert!(fs::read(&host).unwrap() == before, "unchanged");
}
