//! `bifold` with no arguments: a merge sort that fits neither guest RAM nor the host's budget, checked against the
//! same program run natively.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use abi::port::Exit;
use paging::policy::PolicyKind;
use rustix::fs::{MemfdFlags, memfd_create};

use super::outcome;
use crate::guest;
use crate::machine::{self, Bundled, End, GuestPaging, Hypervisor};
use crate::memory::Size;
use crate::report::{Nanos, Progress, Report};
use crate::store::StoreConfig;

const INPUT: Size = Size::mib(10);
const RAM: Size = Size::mib(8);
const HOST_RAM: Size = Size::mib(5);
const SWAP: Size = Size::mib(48);
/// Where the program is in the guest.
const PROGRAM: &str = "/bin/sort";

/// Runs the demo.
pub fn run(hypervisor: Hypervisor) -> Result<ExitCode, Box<dyn Error>> {
    let program = Bundled {
        path: PROGRAM,
        image: guest::SORT,
        arguments: vec![format!("{}M", INPUT.bytes() >> 20)],
        files: Vec::new(),
        ram: RAM,
        host_ram: Some(HOST_RAM),
        swap: SWAP,
        paging: GuestPaging::default(),
        host_policy: PolicyKind::Clock,
        store: StoreConfig::default(),
    };
    let mut out = io::stdout();
    writeln!(out, "Bifold: a merge sort of {INPUT} of records, in a guest with {RAM} of RAM,")?;
    writeln!(out, "on a host that keeps {HOST_RAM} of it resident. Both page.\n")?;
    let (expected, native) = run_natively(&program)?;
    writeln!(out, "  natively  {:>8}  {}", Nanos(native.as_nanos() as u64).to_string(), expected.trim_end())?;

    let (answer, report, run) = run_in_guest(hypervisor, program)?;
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
fn run_natively(program: &Bundled) -> io::Result<(String, Duration)> {
    let mut image = File::from(memfd_create("sort", MemfdFlags::CLOEXEC)?);
    image.write_all(program.image)?;
    let started = Instant::now();
    let path = format!("/proc/self/fd/{}", image.as_raw_fd());
    let output =
        Command::new(path).args(&program.arguments).stdin(Stdio::null()).stderr(Stdio::inherit()).output()?;
    if !output.status.success() {
        return Err(io::Error::other(format!("the bundled program ended natively with {}", output.status)));
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), started.elapsed()))
}

fn run_in_guest(hypervisor: Hypervisor, program: Bundled) -> Result<(String, Report, End), Box<dyn Error>> {
    let argv = program.argv();
    let (config, output) = program.config(hypervisor)?;
    let mut report = Report::new(&config, argv);
    let progress = Progress::start();
    let run = machine::run(config, Some(&mut |reading| progress.show(reading)))?;
    drop(progress);
    report.finish(&run);
    Ok((output.text()?, report, run.end))
}
