//! A run that is controlled while it goes on: `--control` and `bifold ctl`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::command::{Ended, Running, bifold, run};
use crate::support::guests::{ARGS, WALK};
use crate::support::report::read;

/// The longest that anything asked for may take to happen: far more than it needs, and yet an end.
const LIMIT: Duration = Duration::from_secs(100);

/// A run that goes on until it is ended, and its socket.
struct Controlled {
    running: Running,
    folder: TempDir,
}

impl Controlled {
    /// Walks over 12M of memory at random. The guest's pages are huge, so that the host's are what takes
    /// time.
    fn start(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut command = bifold(["run", "--ram=24M", "--guest-page=2m", "--swap=16M", "--store=memory"]);
        command.arg("--control").arg(folder.path().join("socket")).args(options);
        command.args(["--", WALK, "12M", "random", "write", "1000000"]);
        let controlled = Self { running: Running::start(&mut command), folder };
        // Our kernel has the program run from here on.
        controlled.until(|status| guest_faults(status) > 0);
        controlled
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("socket")
    }

    fn ctl(&self, words: &[&str]) -> Ended {
        run(bifold(["ctl"]).arg(self.socket()).args(words))
    }

    /// The status that a request is answered with.
    #[track_caller]
    fn ask(&self, words: &[&str]) -> Value {
        read(&self.ctl(words).succeeded().out)["status"].clone()
    }

    /// Waits until a status is as wanted, and returns it.
    #[track_caller]
    fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let ended = self.ctl(&["status"]);
            // It may not listen yet.
            let status = if ended.status == 0 { read(&ended.out)["status"].clone() } else { Value::Null };
            if wanted(&status) {
                return status;
            }
            assert!(start.elapsed() < LIMIT, "it never came to that: {status:#} {ended:?}");
        }
    }

    /// Waits until the guest, which is paged by the host, has come further than at `before`.
    #[track_caller]
    fn goes_on(&self, before: &Value) {
        self.until(|status| host_faults(status) > host_faults(before) + 100);
    }
}

fn guest_faults(status: &Value) -> u64 {
    ["minor_faults", "major_faults"].map(|kind| status["guest"][kind].as_u64().unwrap_or(0)).iter().sum()
}

fn host_faults(status: &Value) -> u64 {
    ["minor_faults", "major_faults"].map(|kind| status["host"][kind].as_u64().unwrap_or(0)).iter().sum()
}

fn mib(value: &Value) -> f64 {
    value.as_u64().unwrap() as f64 / f64::from(1 << 20)
}

#[test]
fn a_paused_guest_does_nothing_until_it_is_resumed() {
    let run = Controlled::start(&["--host-ram=8M"]);
    let paused = run.ask(&["pause"]);
    assert_eq!(paused["state"], "paused");
    // Faults that the vCPU had taken before are still served; after a hundred looks there are none.
    let settled = (0..100).map(|_| run.ask(&["status"])).next_back().unwrap();
    let later = run.ask(&["status"]);
    assert_eq!(guest_faults(&settled), guest_faults(&later));
    assert_eq!(host_faults(&settled), host_faults(&later));
    assert!(later["elapsed_ns"].as_u64() > settled["elapsed_ns"].as_u64(), "time goes on");
    assert_eq!(run.ask(&["resume"])["state"], "running");
    run.goes_on(&later);
}

#[test]
fn a_lowered_budget_holds_soon_and_the_guest_goes_on_meanwhile_and_after() {
    let run = Controlled::start(&["--host-ram=12M"]);
    let full = run.until(|status| mib(&status["resident"]) > 10.0);
    let lowered = run.ask(&["set-budget", "4M"]);
    assert_eq!(mib(&lowered["budget"]), 4.0);
    let held = run.until(|status| mib(&status["resident"]) <= 4.0);
    assert!(host_faults(&held) > host_faults(&full));
    run.goes_on(&held);
    assert!(mib(&run.ask(&["status"])["resident"]) <= 4.0, "from here on it holds");
    run.ask(&["set-budget", "16M"]);
    run.until(|status| mib(&status["resident"]) > 8.0);
}

#[test]
fn budgets_that_cannot_be_are_refused_and_nothing_changes() {
    let run = Controlled::start(&["--host-ram=8M"]);
    run.ctl(&["set-budget", "4K"]).refused(&["4 KiB", "256 KiB"]);
    run.ctl(&["set-budget", "32M"]).refused(&["32 MiB", "24 MiB"]);
    assert_eq!(mib(&run.ask(&["status"])["budget"]), 8.0);
    let unpaged = Controlled::start(&[]);
    unpaged.ctl(&["set-budget", "8M"]).refused(&["--host-ram"]);
    assert_eq!(unpaged.ask(&["status"])["budget"], Value::Null);
}

#[test]
fn a_run_that_is_stopped_ends_as_by_sigterm_even_when_it_is_paused() {
    for before in [&[][..], &["pause"]] {
        let run = Controlled::start(&["--host-ram=8M"]);
        before.iter().for_each(|word| drop(run.ask(&[word])));
        assert_eq!(run.ask(&["stop"])["state"], "stopping");
        let socket = run.socket();
        run.running.wait().with_status(143);
        assert!(!socket.exists());
    }
}

#[test]
fn a_signal_removes_the_socket_too() {
    for (signal, status) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let run = Controlled::start(&[]);
        run.running.signal(signal);
        let socket = run.socket();
        run.running.wait().with_status(status);
        assert!(!socket.exists());
    }
}

#[test]
fn nonsense_is_answered_and_the_guest_runs_on_with_clients_that_never_read() {
    let run = Controlled::start(&["--host-ram=8M"]);
    let mut deaf = UnixStream::connect(run.socket()).unwrap();
    deaf.set_nonblocking(true).unwrap();
    while deaf.write(b"{\"command\":\"status\"}\n").is_ok() {}
    let mut client = UnixStream::connect(run.socket()).unwrap();
    client.write_all(b"what?\n{\"command\":\"halt\"}\n{\"command\":\"status\"}\n").unwrap();
    let answers: Vec<Value> =
        BufReader::new(client).lines().take(3).map(|line| read(&line.unwrap())).collect();
    assert!(answers[0]["error"].as_str().unwrap().contains(r#"{"command":"status"}"#), "{answers:?}");
    assert!(answers[1]["error"].as_str().unwrap().contains("set-budget"), "{answers:?}");
    assert_eq!(answers[2]["status"]["state"], "running");
    run.goes_on(&answers[2]["status"]);
}

#[test]
fn a_path_that_cannot_be_a_socket_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |path: &Path, words: &[&str]| {
        let words = [&[path.to_str().unwrap()][..], words].concat();
        run(bifold(["run", "--control"]).arg(path).arg(ARGS)).refused(&words);
    };
    let file = folder.path().join("file");
    fs::write(&file, "precious").unwrap();
    refused(&file, &["exists"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    let used = folder.path().join("used");
    let _listener = UnixListener::bind(&used).unwrap();
    refused(&used, &["in use"]);
    refused(&folder.path().join("x".repeat(100)), &["107"]);
    refused(&folder.path().join("none/socket"), &["folder"]);
    run(bifold(["ctl"]).arg(folder.path().join("nobody")).arg("status")).refused(&["nobody", "--control"]);
}
