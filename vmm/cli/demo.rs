//! `bifold` with no arguments: a merge sort that fits neither guest RAM nor the host's budget, checked against the
//! same program run natively.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use abi::port::Exit;
use indicatif::{ProgressBar, ProgressStyle};
use paging::policy::PolicyKind;
use rustix::fs::{MemfdFlags, memfd_create};

use super::outcome;
use crate::devices::DiskFile;
use crate::guest;
use crate::machine::{self, Config, End, Guest, GuestPaging, Hypervisor, Program, Reading, Streams};
use crate::memory::Size;
use crate::report::{Count, Level, Nanos, Report};
use crate::store::StoreSpec;

const INPUT: Size = Size::mib(10);
const RAM: Size = Size::mib(8);
const HOST_RAM: Size = Size::mib(5);
const SWAP: Size = Size::mib(48);
/// Where the program is in the guest.
const PROGRAM: &str = "/bin/sort";

/// Runs the demo.
pub fn run(hypervisor: Hypervisor) -> Result<ExitCode, Box<dyn Error>> {
    let argv = vec![PROGRAM.to_owned(), format!("{}M", INPUT.bytes() >> 20)];
    let mut out = io::stdout();
    writeln!(out, "Bifold: a merge sort of {INPUT} of records, in a guest with {RAM} of RAM,")?;
    writeln!(out, "on a host that keeps {HOST_RAM} of it resident. Both page.\n")?;
    let (expected, native) = run_natively(&argv)?;
    writeln!(out, "  natively  {:>8}  {}", Nanos(native.as_nanos() as u64).to_string(), expected.trim_end())?;

    let (answer, report, run) = run_in_guest(hypervisor, argv)?;
    writeln!(out, "  in Bifold {:>8}  {}\n", Nanos(report.elapsed_ns).to_string(), answer.trim_end())?;
    write!(out, "{report}")?;
    if !matches!(run, End::Exit(Exit::Status(0))) {
        return Ok(outcome::status(PROGRAM, &run));
    }
    if answer != expected {
        writeln!(out, "\nThe answers differ: this is a bug in Bifold. Please report it.")?;
        return Ok(ExitCode::FAILURE);
    }
    writeln!(out, "\nThe answers are equal. Next: bifold run --help")?;
    Ok(ExitCode::SUCCESS)
}

/// Runs the bundled program on the host, from memory, and returns what it printed and how long it took.
fn run_natively(argv: &[String]) -> io::Result<(String, Duration)> {
    let mut program = File::from(memfd_create("sort", MemfdFlags::CLOEXEC)?);
    program.write_all(guest::SORT)?;
    let started = Instant::now();
    let path = format!("/proc/self/fd/{}", program.as_raw_fd());
    let output =
        Command::new(path).args(&argv[1..]).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("the bundled program ended natively with {}", output.status)));
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), started.elapsed()))
}

fn run_in_guest(hypervisor: Hypervisor, argv: Vec<String>) -> Result<(String, Report, End), Box<dyn Error>> {
    let mut output = File::from(memfd_create("output", MemfdFlags::CLOEXEC)?);
    let streams = Streams {
        input: null()?,
        output: output.try_clone()?.into(),
        error: io::stderr().as_fd().try_clone_to_owned()?,
    };
    let program = Program {
        start: super::run::start(PROGRAM, argv.clone(), &[]),
        files: vec![DiskFile::bundled(PROGRAM, guest::SORT)?],
        swap: Some(SWAP),
        trace: None,
        paging: GuestPaging::default(),
        streams,
    };
    let config = Config {
        asked: Instant::now(),
        hypervisor,
        ram: RAM,
        backing: None,
        host_ram: Some(HOST_RAM),
        host_policy: PolicyKind::Clock,
        store: StoreSpec::default(),
        guest: Guest::Program(Box::new(program)),
        timeout: None,
    };
    let mut report = Report::new(&config, argv);
    let bar = progress_bar();
    let run = machine::run(config, Some(&mut |reading| show(&bar, reading)))?;
    bar.finish_and_clear();
    report.finish(&run);
    let mut answer = String::new();
    output.rewind()?;
    output.read_to_string(&mut answer)?;
    Ok((answer, report, run.end))
}

/// Drawn on standard error, and only if that is a terminal.
fn progress_bar() -> ProgressBar {
    let style = ProgressStyle::with_template("  {spinner} {elapsed} {msg}");
    ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
}

fn show(bar: &ProgressBar, reading: &Reading) {
    let faults = |level: Level| Count(level.faults()).to_string();
    let guest = reading.guest.as_deref().map(|stats| faults(Level::of_guest(stats, reading.tsc_khz)));
    let host = reading.host.as_ref().map(|stats| faults(Level::of_host(stats)));
    bar.set_message(format!(
        "guest faults {}, host faults {}",
        guest.unwrap_or_default(),
        host.unwrap_or_default()
    ));
    bar.tick();
}

fn null() -> io::Result<OwnedFd> {
    Ok(File::open("/dev/null")?.into())
}
