//! A run leaves nothing behind: no file, no process, no mount, and the terminal as it was.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use rustix::process::Signal;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::tcgetattr;
use tempfile::TempDir;

use crate::support::command::{Reader, Running, bifold, run};
use crate::support::guests::{ARGS, WALK, tool};
use crate::support::outside::processes_with;

/// Folders where a program may leave something without being told to.
const COMMON: [&str; 3] = ["/tmp", "/var/tmp", "/dev/shm"];

/// What a run could leave, before it: the runs' own temporary folder is empty, no process bears the mark.
struct Before {
    folder: TempDir,
    mark: String,
    bifold_files: BTreeSet<String>,
    mounts: String,
}

impl Before {
    fn new(name: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mark = format!("BIFOLD_TEST_MARK={name}-{}", std::process::id());
        Self { folder, mark, bifold_files: bifold_files(), mounts: mounts() }
    }

    /// The command with the folder as its TMPDIR and the mark in its environment.
    fn bifold(&self, arguments: &[&str]) -> Command {
        let mut command = bifold(arguments);
        let (name, value) = self.mark.split_once('=').unwrap();
        command.env("TMPDIR", self.folder.path()).env(name, value);
        command
    }

    #[track_caller]
    fn nothing_is_left(self) {
        assert_eq!(processes_with(&self.mark), [""; 0]);
        let files: Vec<_> = fs::read_dir(self.folder.path()).unwrap().flatten().collect();
        assert!(files.is_empty(), "{files:?}");
        assert_eq!(bifold_files(), self.bifold_files);
        assert_eq!(mounts(), self.mounts);
    }
}

/// Files in the common folders that bear the command's name.
fn bifold_files() -> BTreeSet<String> {
    let entries = COMMON.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten().flatten();
    let names = entries.map(|entry| entry.path().display().to_string());
    names.filter(|name| name.contains("bifold")).collect()
}

fn mounts() -> String {
    fs::read_to_string("/proc/self/mounts").unwrap()
}

/// How often a run is repeated: 10 times, or BIFOLD_TEST_RUNS.
fn runs() -> usize {
    std::env::var("BIFOLD_TEST_RUNS").map_or(10, |runs| runs.parse().expect("BIFOLD_TEST_RUNS is a number"))
}

#[test]
fn runs_in_a_loop_leave_nothing_behind() {
    let before = Before::new("loop");
    let arguments = ["run", "--ram=16M", "--swap=32M", "--host-ram=8M", "--", WALK, "10M", "seq", "write"];
    let outputs: BTreeSet<String> =
        (0..runs()).map(|_| run(&mut before.bifold(&arguments)).succeeded().out).collect();
    assert_eq!(outputs.len(), 1, "every run gives the same answer: {outputs:?}");
    before.nothing_is_left();
}

/// Starts a run that waits for input, after it has printed something.
fn waiting(before: &Before) -> Running {
    let arguments = ["run", "--ram=16M", "--host-ram=8M", "--swap=16M", "--", ARGS];
    let mut running = Running::start(before.bifold(&arguments).stdin(Stdio::piped()));
    running.wait_for_output("environment: ");
    running
}

#[test]
fn a_run_that_is_told_to_end_leaves_nothing_behind() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let before = Before::new("told");
        let mut running = waiting(&before);
        let _open = running.stdin();
        running.signal(signal);
        running.wait().with_status(status);
        before.nothing_is_left();
    }
}

#[test]
fn a_run_that_is_killed_leaves_nothing_behind() {
    let before = Before::new("killed");
    let mut running = waiting(&before);
    let _open = running.stdin();
    running.signal(Signal::KILL);
    assert!(running.wait().killed);
    before.nothing_is_left();
}

#[test]
fn a_run_that_takes_too_long_is_ended_and_leaves_nothing_behind() {
    let before = Before::new("late");
    let arguments =
        ["run", "--timeout=1", "--ram=16M", "--host-ram=8M", "--", WALK, "8M", "random", "write", "1000000"];
    let ended = run(&mut before.bifold(&arguments)).with_status(124);
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
    before.nothing_is_left();
}

/// On a terminal of its own, Ctrl-C as a user types it.
#[test]
fn ctrl_c_on_a_terminal_ends_the_run_and_leaves_the_terminal_as_it_was() {
    let before = Before::new("terminal");
    let controller = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&controller).unwrap();
    unlockpt(&controller).unwrap();
    let name = ptsname(&controller, Vec::new()).unwrap();
    let terminal = fs::File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let settings = format!("{:?}", tcgetattr(&terminal).unwrap());

    let inner = before.bifold(&["run", "--ram=16M", "--host-ram=8M", "--timeout=100", "--", ARGS]);
    let mut command = Command::new(tool("setsid", "util-linux"));
    command.args(["--ctty", "--wait"]).arg(inner.get_program()).args(inner.get_args());
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command
        .stdin(terminal.try_clone().unwrap())
        .stdout(terminal.try_clone().unwrap())
        .stderr(terminal.try_clone().unwrap())
        .spawn()
        .unwrap();

    let mut keyboard = fs::File::from(controller);
    let mut screen = Reader::start(keyboard.try_clone().unwrap());
    assert!(screen.until("standard error"), "the program has started");
    keyboard.write_all(b"\x03").unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(format!("{:?}", tcgetattr(&terminal).unwrap()), settings);
    before.nothing_is_left();
}
