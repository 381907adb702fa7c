//! What this host's KVM can do.

use std::fmt;

use kvm_bindings::KVM_MAX_CPUID_ENTRIES;
use kvm_ioctls::{Cap, Kvm};
use serde::Serialize;

use super::{Feature, list};
use crate::machine::Hypervisor;

/// KVM's extensions that matter here. Those that Bifold cannot do without are [`Hypervisor::open`]'s.
const CAPABILITIES: &[(Cap, &str)] = &[
    (Cap::Irqfd, "irqfd"),
    (Cap::Ioeventfd, "ioeventfd"),
    (Cap::ImmediateExit, "immediate exit"),
    (Cap::TscDeadlineTimer, "TSC-deadline timer"),
    (Cap::DirtyLogRing, "dirty ring"),
    (Cap::SyncMmu, "MMU notifiers"),
];

/// What KVM may give a guest's CPU: name, CPUID leaf and subleaf, register (0 is EAX), bit.
const GUEST_CPU: &[(&str, u32, u32, usize, u32)] = &[
    ("guest 1 GiB pages", 0x8000_0001, 0, 3, 26),
    ("guest NX", 0x8000_0001, 0, 3, 20),
    ("guest PCID", 1, 0, 2, 17),
    ("guest INVPCID", 7, 0, 1, 10),
    ("guest SMEP", 7, 0, 1, 7),
    ("guest SMAP", 7, 0, 1, 20),
    ("guest XSAVE", 1, 0, 2, 26),
];

/// What KVM has.
#[derive(Debug, Serialize)]
pub struct KvmFacts {
    /// Why no guest can run under it, and what to do; `null` when one can.
    pub error: Option<String>,
    /// Its extensions, and what it lets a guest's CPU have.
    pub features: Vec<Feature>,
}

impl KvmFacts {
    pub(super) fn of_this_host() -> Self {
        let error = Hypervisor::open().err().map(|error| error.to_string());
        Self { error, features: Kvm::new().map(|kvm| features(&kvm)).unwrap_or_default() }
    }
}

fn features(kvm: &Kvm) -> Vec<Feature> {
    let cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).ok();
    let entries = cpuid.as_ref().map_or(&[][..], |cpuid| cpuid.as_slice());
    let has = |leaf, subleaf, register: usize, bit: u32| {
        let entry = entries.iter().find(|entry| entry.function == leaf && entry.index == subleaf);
        let registers = entry.map(|entry| [entry.eax, entry.ebx, entry.ecx, entry.edx]);
        registers.is_some_and(|registers| registers[register] >> bit & 1 == 1)
    };
    let capabilities =
        CAPABILITIES.iter().map(|&(cap, name)| Feature { name, present: kvm.check_extension(cap) });
    let guest = GUEST_CPU.iter().map(|&(name, leaf, subleaf, register, bit)| Feature {
        name,
        present: has(leaf, subleaf, register, bit),
    });
    capabilities.chain(guest).collect()
}

impl fmt::Display for KvmFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(error) => f.write_str(error),
            None => list(f, &self.features),
        }
    }
}
