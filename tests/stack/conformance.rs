//! Processes, signals, pipes and threads are what Linux's man pages say: the same checks run natively and in a guest that is short of
//! memory at both levels. What takes too much gets an error, or is killed, and the others go on.

use std::fmt::Write;
use std::fs;
use std::process::Command;

use crate::support::command::{bifold, run};
use crate::support::full;
use crate::support::guests::{CONFORM, busybox, compile_c};

#[test]
fn processes_signals_threads_and_mapped_files_behave_as_on_linux() {
    let folder = tempfile::tempdir().unwrap();
    // As conform wants it: five pages and a part of one.
    fs::write(folder.path().join("mapped.bin"), [0; 5 * 4096 + 100]).unwrap();
    let inside = |command: &mut Command| run(command.current_dir(folder.path())).succeeded().out;
    let native = inside(&mut Command::new(CONFORM));
    let options = ["run", "--ram=4M", "--swap=32M", "--host-ram=3M", "--file=mapped.bin", CONFORM];
    assert_eq!(inside(&mut bifold(options)), native);
    let after = fs::read(folder.path().join("mapped.bin")).unwrap();
    assert!(
        after.chunks(4096).all(|page| page.iter().any(|&byte| byte != 0)),
        "the guest's writes are in the file"
    );
}

/// In full size the file is larger than guest RAM.
#[test]
fn a_shell_runs_a_pipeline_that_pages() {
    const LINES: u64 = 12_000;
    let folder = tempfile::tempdir().unwrap();
    let (ram, rest) = ("--ram=4M", ".".repeat(if full() { 360 } else { 0 }));
    let mut text = String::new();
    for n in 0..LINES {
        writeln!(text, "line {:08} of the file that is sorted{rest}", n * 7919 % (LINES / 3)).unwrap();
    }
    assert!(!full() || text.len() > 4 << 20);
    fs::write(folder.path().join("lines"), text).unwrap();
    let script = "$0 sort lines | $0 uniq -c | $0 sort -rn | $0 head -3; $0 sort lines | $0 uniq | $0 wc";
    let inside = |command: &mut Command| run(command.current_dir(folder.path())).succeeded().out;
    let native = inside(Command::new(busybox()).args(["sh", "-c", script, busybox()]));
    let options = ["run", ram, "--swap=256M", "--file=lines:ro", "--", busybox()];
    assert_eq!(inside(bifold(options).args(["sh", "-c", script, busybox()])), native);
}

#[test]
fn a_fork_bomb_ends_in_an_error_to_itself() {
    let bomb = compile_c("fork_bomb.c", &["-static"]);
    let ended = run(bifold(["run", "--ram=8M", "--swap=16M", "--"]).arg(bomb)).succeeded();
    assert_eq!(ended.out, "Resource temporarily unavailable\nall ended\n");
}

#[test]
fn when_memory_and_swap_are_full_the_largest_process_is_killed_and_the_others_go_on() {
    let greedy = compile_c("out_of_memory.c", &["-static"]);
    let ended = run(bifold(["run", "--ram=8M", "--swap=8M", "--"]).arg(greedy)).succeeded();
    assert_eq!(ended.out, "signal 9, 0 wrong\n");
    assert!(ended.err.contains("out of memory") && ended.err.contains("process 101"), "{}", ended.err);
}

#[test]
fn pointers_that_lead_nowhere_are_errors_to_the_program() {
    let wild = compile_c("wild.c", &["-static"]);
    let ended = run(bifold(["run", "--ram=16M", "--"]).arg(wild)).succeeded();
    assert_eq!(ended.out, "0 calls did not answer EFAULT\nthe kernel goes on\n", "{}", ended.err);
}

#[test]
fn corrupt_programs_end_in_an_error_and_nothing_else_does() {
    let rounds = if full() { "400" } else { "30" };
    let corrupt = compile_c("corrupt.c", &["-static"]);
    let ended = run(bifold(["run", "--ram=16M", "--"]).arg(corrupt).arg(rounds)).succeeded();
    assert_eq!(ended.out, format!("{rounds} runs, all over\n"), "{}", ended.err);
}
