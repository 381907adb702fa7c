//! What a run and a comparison print: tables, JSON, and files for others to read.

mod compare;
mod escape;
mod huge;
mod junit;
mod level;
mod phases;
mod progress;
mod replay;
mod table;
mod tiers;
mod units;
mod victims;

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write};

use serde::Serialize;

use crate::machine::{Config, End, Guest, Run};
use crate::measure::SecondLevel;
use crate::memory::Backing;
use crate::pager::{HostStats, PagerKind};
pub use compare::ComparisonReport;
pub use huge::Huge;
pub use junit::write_junit;
pub use level::{Level, Percentiles, SourceCount, to_ns};
pub use phases::Phases;
pub use progress::Progress;
pub use replay::{Outcome, ReplayReport, Row};
pub use table::table;
use tiers::Tiers;
pub use units::{Count, Nanos, Pages};
use victims::Victims;

/// A run, for people and for programs. Sizes are in bytes, counts in 4 KiB pages.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Guest RAM.
    pub ram: u64,
    /// What was asked to back it; `null`: the host's kernel chose.
    pub backing: Option<&'static str>,
    /// The host's budget; `null`: the host's kernel backs all of guest RAM.
    pub host_ram: Option<u64>,
    /// The guest's swap disk; `null`: none.
    pub swap: Option<u64>,
    /// Where pages out of RAM went.
    pub store: String,
    /// The guest's replacement policy; `null` for another kernel.
    pub guest_policy: Option<&'static str>,
    /// What the program's anonymous memory consisted of, where it did not ask; `null` for another kernel.
    pub guest_page: Option<&'static str>,
    /// Who kept the host's budget.
    pub host_pager: &'static str,
    /// The host's replacement policy.
    pub host_policy: &'static str,
    /// How the host finds out which pages are used.
    pub host_reference: &'static str,
    /// How the host translates guest-physical addresses.
    pub second_level: SecondLevel,
    /// From the start of the vCPU to its end.
    pub elapsed_ns: u64,
    /// What came before, and what it consists of.
    pub phases: Phases,
    /// How the run ended: `exit`, `signal`, `crash`, ...
    pub end: &'static str,
    /// The program's exit status, where it exited.
    pub exit_status: Option<u8>,
    /// What the guest's kernel did with huge pages; `null` for another kernel.
    pub guest_huge: Option<Huge>,
    /// What the guest's pager did; `null` for another kernel.
    pub guest: Option<Level>,
    /// What the host's pager did; `null` where the host's kernel backs guest RAM.
    pub host: Option<Level>,
    /// The host pager's own counters.
    pub host_detail: Option<HostStats>,
    /// What KVM counted, by its own names.
    pub kvm: BTreeMap<String, u64>,
}

impl Report {
    /// The report of a run that has not begun.
    #[must_use]
    pub fn new(config: &Config, command: Vec<String>) -> Self {
        let program = match &config.guest {
            Guest::Program(program) => Some(program),
            Guest::Kernel(_) => None,
        };
        Self {
            command,
            ram: config.ram.bytes(),
            backing: config.backing.map(Backing::name),
            host_ram: config.host_ram.map(|budget| budget.bytes()),
            swap: program.and_then(|program| program.swap).map(|swap| swap.bytes()),
            store: config.store.place.to_string(),
            guest_policy: program.map(|program| program.paging.policy.name()),
            guest_page: program.map(|program| program.paging.page.name()),
            host_pager: config.host_pager.name(),
            host_policy: config.host_policy.name(),
            host_reference: config.host_reference.name(),
            second_level: SecondLevel::of_this_host(),
            elapsed_ns: 0,
            phases: Phases::default(),
            end: "running",
            exit_status: None,
            guest_huge: None,
            guest: None,
            host: None,
            host_detail: None,
            kvm: BTreeMap::new(),
        }
    }

    /// Takes in how the run went.
    pub fn finish(&mut self, run: &Run) {
        let reading = &run.reading;
        self.elapsed_ns = reading.elapsed.as_nanos() as u64;
        self.phases = Phases::of(run);
        (self.end, self.exit_status) = end(&run.end);
        self.guest = reading.guest.as_deref().map(|stats| Level::of_guest(stats, reading.tsc_khz));
        self.guest_huge = reading.guest.as_deref().map(Huge::of);
        self.host = reading.host.as_ref().map(Level::of_host);
        self.host_detail.clone_from(&reading.host);
        self.kvm.clone_from(&run.kvm);
    }

    /// How many pages of 4 KiB, 2 MiB and 1 GiB KVM had mapped at the end.
    fn mappings(&self) -> Option<[u64; 3]> {
        let [small, huge_2m, huge_1g] =
            ["pages_4k", "pages_2m", "pages_1g"].map(|name| self.kvm.get(name).copied());
        Some([small?, huge_2m?, huge_1g?])
    }

    /// Writes it as one JSON object.
    ///
    /// # Errors
    /// The destination cannot be written.
    pub fn write_json(&self, mut to: impl Write) -> io::Result<()> {
        serde_json::to_writer_pretty(&mut to, self)?;
        to.write_all(b"\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(guest) = &self.guest {
            writeln!(f, "{}", table(guest, self.host.as_ref()))?;
        }
        if let Some(huge) = self.guest_huge.filter(|huge| *huge != Huge::default()) {
            writeln!(f, "guest huge pages: {huge}")?;
        }
        match &self.host_detail {
            Some(host) if host.pager == PagerKind::Kernel.name() => {
                let budget = Pages(host.budget);
                writeln!(
                    f,
                    "host pager: kernel, budget {budget}; the host's faults are those of the whole process"
                )?;
            }
            Some(host) => {
                writeln!(f, "store: {}", Tiers(&host.store))?;
                writeln!(f, "host victims: {}", Victims(host))?;
            }
            None => {}
        }
        write!(f, "second level: {}", self.second_level)?;
        if let Some([small, huge_2m, huge_1g]) = self.mappings() {
            write!(
                f,
                ", {} pages of 4K, {} of 2M, {} of 1G mapped",
                Count(small),
                Count(huge_2m),
                Count(huge_1g)
            )?;
        }
        writeln!(f)?;
        writeln!(f, "{} in {}", self.end, Nanos(self.elapsed_ns))
    }
}

fn end(end: &End) -> (&'static str, Option<u8>) {
    use abi::port::Exit;
    match end {
        End::Exit(Exit::Status(status)) => ("exited", Some(*status)),
        End::Exit(Exit::Signal(_)) => ("killed by a signal", None),
        End::Exit(Exit::ExecFailed(_)) => ("not started", None),
        End::Exit(Exit::Panic) | End::Crash(_) => ("crashed", None),
        End::Signal(_) => ("ended by the user", None),
        End::TimedOut(..) => ("timed out", None),
        End::BrokenPipe => ("ended by a broken pipe", None),
        End::OutputFailed(_) => ("ended by an output error", None),
    }
}
