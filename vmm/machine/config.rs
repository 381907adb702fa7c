//! What to run, and in what.

use std::fs::File;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use paging::policy::PolicyKind;

use super::board::Streams;
use super::boot::Start;
use super::guest_paging::GuestPaging;
use super::vm::Hypervisor;
use crate::devices::DiskFile;
use crate::memory::{Backing, Size};
use crate::pager::{HugeSwap, PagerKind, ReferenceSource, TraceFile};
use crate::store::StoreConfig;

/// What to run, and in what.
pub struct Config {
    /// When the user asked for it.
    pub asked: Instant,
    /// What makes the VM.
    pub hypervisor: Hypervisor,
    /// Guest RAM.
    pub ram: Size,
    /// What it consists of on the host; `None`: what the host's kernel likes.
    pub backing: Option<Backing>,
    /// How much of it the host keeps resident; `None`: the host's kernel backs all of it.
    pub host_ram: Option<Size>,
    /// Who keeps the budget.
    pub host_pager: PagerKind,
    /// Which frames the host evicts.
    pub host_policy: PolicyKind,
    /// What becomes of huge pages of guest RAM that the host evicts.
    pub huge_swap: HugeSwap,
    /// How the host finds out which frames are used.
    pub host_reference: ReferenceSource,
    /// Where a record of the host's faults goes.
    pub host_trace: Option<TraceFile>,
    /// Where pages out of RAM are, the host's and the guest's.
    pub store: StoreConfig,
    /// What runs.
    pub guest: Guest,
    /// When to end the run from outside.
    pub timeout: Option<Duration>,
    /// Where the run can be controlled.
    pub control: Option<PathBuf>,
}

/// What runs in a machine.
pub enum Guest {
    /// A kernel alone, its serial port on standard output.
    Kernel(Vec<u8>),
    /// A program under our kernel.
    Program(Box<Program>),
}

/// A program under our kernel.
pub struct Program {
    /// How it is started.
    pub start: Start,
    /// The files that it sees, itself among them.
    pub files: Vec<DiskFile>,
    /// Size of the swap disk; `None`: there is none.
    pub swap: Option<Size>,
    /// Where a record of the guest's faults goes, and its path.
    pub trace: Option<(PathBuf, File)>,
    /// How its kernel pages.
    pub paging: GuestPaging,
    /// Its standard streams.
    pub streams: Streams,
}
