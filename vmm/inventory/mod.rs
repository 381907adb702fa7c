//! What this host has of all that Bifold can use: found by asking the kernel, not by guessing from versions.

mod counters;
mod cpu;
mod kvm;
mod memory;
mod userfaultfd;

use std::fmt;

use serde::Serialize;

pub use counters::{Counters, HardwareEvent};
pub use cpu::Cpu;
pub use kvm::KvmFacts;
pub use memory::{HugePool, Memory, SwapArea};
pub use userfaultfd::UserfaultfdFacts;

use crate::measure::SecondLevel;

/// A capability by its name, and whether it is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct Feature {
    /// Its usual name.
    pub name: &'static str,
    /// Whether this host has it.
    pub present: bool,
}

/// This host.
#[derive(Debug, Serialize)]
pub struct Inventory {
    /// Its processors.
    pub cpu: Cpu,
    /// Release of its kernel.
    pub kernel: String,
    /// How KVM translates guest-physical addresses.
    pub second_level: SecondLevel,
    /// RAM, huge pages and swap.
    pub memory: Memory,
    /// KVM.
    pub kvm: KvmFacts,
    /// What the host pager works with.
    pub userfaultfd: UserfaultfdFacts,
    /// The CPU's event counters.
    pub counters: Counters,
}

impl Inventory {
    /// Looks at this host. What cannot be found out is reported as missing, with the reason.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self {
            cpu: Cpu::of_this_host(),
            kernel: rustix::system::uname().release().to_string_lossy().into_owned(),
            second_level: SecondLevel::of_this_host(),
            memory: Memory::of_this_host(),
            kvm: KvmFacts::of_this_host(),
            userfaultfd: UserfaultfdFacts::of_this_host(),
            counters: Counters::of_this_host(),
        }
    }
}

impl fmt::Display for Inventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "CPU           {}", self.cpu)?;
        writeln!(f, "kernel        Linux {}", self.kernel)?;
        writeln!(f, "second level  {}", self.second_level)?;
        write!(f, "{}", self.memory)?;
        writeln!(f, "KVM           {}", self.kvm)?;
        writeln!(f, "userfaultfd   {}", self.userfaultfd)?;
        writeln!(f, "counters      {}", self.counters)
    }
}

/// The names of what is there, and then of what is not.
fn list(f: &mut fmt::Formatter<'_>, features: &[Feature]) -> fmt::Result {
    let names = |present| {
        let wanted = features.iter().filter(|feature| feature.present == present);
        wanted.map(|feature| feature.name).collect::<Vec<_>>().join(", ")
    };
    let (present, absent) = (names(true), names(false));
    f.write_str(if present.is_empty() { "none of what is looked for" } else { &present })?;
    if absent.is_empty() { Ok(()) } else { write!(f, "\n              not: {absent}") }
}
