//! What a run goes through, one after the other.

use abi::stats::GuestStats;
use serde::Serialize;

use super::level::to_ns;
use crate::machine::Run;

/// How long each phase took, in nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Phases {
    /// From the start of this process to the vCPU's: arguments, VM, devices, boot information.
    pub prepare_ns: u64,
    /// The part of it that was work: the rest is waiting, most of it for the kernel to make the VM.
    pub prepare_cpu_ns: u64,
    /// From the guest kernel's entry to the program's first instruction; `None` for another kernel, or where it did not
    /// get that far.
    pub boot_ns: Option<u64>,
    /// From there to the end.
    pub program_ns: Option<u64>,
}

impl Phases {
    /// The phases of a run that is over.
    #[must_use]
    pub fn of(run: &Run) -> Self {
        let reading = &run.reading;
        let boot_cycles = reading.guest.as_deref().map(|stats: &GuestStats| stats.boot);
        let boot = boot_cycles.filter(|&cycles| cycles > 0).map(|cycles| to_ns(cycles, reading.tsc_khz));
        // The guest says how long it booted: it may be wrong, the run's end is not.
        let program = boot.map(|boot| (reading.elapsed.as_nanos() as u64).saturating_sub(boot));
        Self {
            prepare_ns: run.prepared.as_nanos() as u64,
            prepare_cpu_ns: run.prepared_cpu.as_nanos() as u64,
            boot_ns: boot,
            program_ns: program,
        }
    }
}
