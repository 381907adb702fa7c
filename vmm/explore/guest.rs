//! A guest that runs the bundled program `explore`.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::panic::resume_unwind;
use std::thread;

use abi::addr::PAGE_SIZE;
use abi::port::Exit;
use abi::stats::GuestStats;
use paging::policy::PolicyKind;
use rustix::fs::{MemfdFlags, memfd_create};

use super::ExploreError;
use super::record::Record;
use crate::devices::{Access, DiskFile, FileSpec};
use crate::guest;
use crate::machine::{self, Bundled, End, GuestPaging, Hypervisor, Reading};
use crate::measure::Random;
use crate::memory::Size;
use crate::pager::HostStats;
use crate::report::{Progress, to_ns};
use crate::store::StoreConfig;

/// Where the program is in the guest.
const PROGRAM: &str = "/bin/explore";

/// What a guest left.
pub struct Ran {
    /// What the program printed.
    pub records: Vec<Record>,
    /// What both levels counted.
    pub reading: Reading,
    command: String,
}

/// A guest with room for what `explore` does with these arguments. An experiment says what it wants smaller.
pub fn explore(arguments: &[&str]) -> Bundled {
    Bundled {
        path: PROGRAM,
        image: guest::EXPLORE,
        arguments: arguments.iter().map(ToString::to_string).collect(),
        files: Vec::new(),
        ram: Size::mib(16),
        host_ram: None,
        swap: Size::mib(64),
        paging: GuestPaging::default(),
        host_policy: PolicyKind::Clock,
        store: StoreConfig::default(),
    }
}

/// A file for a guest, made for it in memory; the second value is to look at it afterwards.
pub fn file(path: &str, bytes: &[u8], access: Access) -> io::Result<(DiskFile, File)> {
    let mut host = File::from(memfd_create("file", MemfdFlags::CLOEXEC)?);
    host.write_all(bytes)?;
    let name = format!("/proc/self/fd/{}", host.as_raw_fd());
    let spec = FileSpec::new(name, path, access).map_err(io::Error::other)?;
    Ok((DiskFile::open(&spec).map_err(io::Error::other)?, host))
}

/// Bytes that no page has twice.
pub fn noise(pages: usize) -> Vec<u8> {
    let mut random = Random::new(1);
    (0..pages * PAGE_SIZE / 8).flat_map(|_| random.next().to_le_bytes()).collect()
}

/// Runs the guest to its end, which must be a good one.
pub fn run(program: Bundled) -> Result<Ran, ExploreError> {
    let progress = Progress::start();
    run_watched(program, Some(&mut |reading| progress.show(reading)))
}

/// Runs guests at the same time, each to its end, which must be a good one.
pub fn run_together<const N: usize>(programs: [Bundled; N]) -> Result<Vec<Ran>, ExploreError> {
    thread::scope(|scope| {
        let runs = programs.map(|program| scope.spawn(|| run_watched(program, None)));
        runs.into_iter().map(|run| run.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

fn run_watched(program: Bundled, progress: Option<&mut dyn FnMut(&Reading)>) -> Result<Ran, ExploreError> {
    let command = format!("explore {}", program.arguments.join(" "));
    let (config, output) = program.config(Hypervisor::open()?)?;
    let run = machine::run(config, progress)?;
    let failed = |how| Err(ExploreError::Failed { command: command.clone(), how });
    match run.end {
        End::Exit(Exit::Status(0)) => {}
        End::Exit(Exit::Status(status)) => return failed(format!("exit status {status}")),
        End::Exit(Exit::Signal(signal)) => return failed(format!("signal {signal}")),
        end => return Err(ExploreError::Ended { command, end }),
    }
    let records = Record::parse(&command, &output.text()?);
    Ok(Ran { records, reading: run.reading, command })
}

impl Ran {
    /// The records of one kind.
    pub fn all(&self, kind: &str) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.kind() == kind)
    }

    /// The first record in which `name` has this value.
    pub fn with(&self, name: &str, value: &str) -> Result<&Record, ExploreError> {
        let found = self.records.iter().find(|record| record.text(name).is_ok_and(|text| text == value));
        found.ok_or_else(|| self.lacks(value))
    }

    /// The first record of a kind.
    pub fn first(&self, kind: &str) -> Result<&Record, ExploreError> {
        self.all(kind).next().ok_or_else(|| self.lacks(kind))
    }

    /// Cycles of the guest's time-stamp counter as a duration.
    pub fn nanoseconds(&self, cycles: u64) -> u64 {
        to_ns(cycles, self.reading.tsc_khz)
    }

    /// What the guest's kernel counted.
    pub fn guest(&self) -> Result<&GuestStats, ExploreError> {
        self.reading.guest.as_deref().ok_or_else(|| self.lacks("the kernel's counters"))
    }

    /// What the host's pager counted.
    pub fn host(&self) -> Result<&HostStats, ExploreError> {
        self.reading.host.as_ref().ok_or_else(|| self.lacks("the host pager's counters"))
    }

    fn lacks(&self, what: &str) -> ExploreError {
        ExploreError::Missing { command: self.command.clone(), what: what.to_owned() }
    }
}
