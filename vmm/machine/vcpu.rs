//! The vCPU: what each exit leads to, and what is reported when it cannot go on.

use std::fmt;

use abi::port::{Exit, IDLE};
use kvm_bindings::{kvm_regs, kvm_sregs};
use kvm_ioctls::{VcpuExit, VcpuFd};
use vm_memory::{Bytes, GuestAddress};

use super::board::Buses;
use super::vm::During;
use crate::devices::Ending;
use crate::memory::GuestRam;

/// What follows from an exit.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// The guest goes on.
    Continue,
    /// The guest waits for an interrupt.
    Wait,
    /// The run is over.
    End(Ending),
    /// The guest cannot go on.
    Broken(Breakage),
}

/// Why a guest cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Breakage {
    /// An exception while delivering one while delivering one, or a guest's own shutdown.
    TripleFault,
    /// KVM_EXIT_INTERNAL_ERROR: mostly an instruction that KVM cannot emulate.
    InternalError,
    /// The CPU refused the guest's state.
    EntryFailed(u64),
    /// The kernel gave up; its reason is in the log.
    Panic,
    /// A value at the exit port that means nothing.
    UnknownExit(u32),
    /// KVM_RUN failed.
    RunFailed(kvm_ioctls::Error),
    /// An exit that no guest of this machine has a reason for.
    Unexpected(String),
}

impl fmt::Display for Breakage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TripleFault => write!(f, "triple fault"),
            Self::InternalError => write!(f, "KVM_EXIT_INTERNAL_ERROR: KVM cannot go on at this instruction"),
            Self::EntryFailed(reason) => write!(f, "the CPU refused to enter the guest (reason {reason:#x})"),
            Self::Panic => write!(f, "its kernel panicked"),
            Self::UnknownExit(value) => {
                write!(f, "it wrote {value:#x} to the exit port, which means nothing")
            }
            Self::RunFailed(error) => write!(f, "KVM_RUN failed: {error}"),
            Self::Unexpected(exit) => write!(f, "unexpected exit {exit}"),
        }
    }
}

/// Serves one exit.
pub fn handle_exit(exit: VcpuExit<'_>, buses: &Buses) -> Step {
    match exit {
        VcpuExit::IoIn(port, data) => buses.ports.read(u64::from(port), data),
        VcpuExit::IoOut(IDLE, _) if buses.outcome.get().is_none() => return Step::Wait,
        VcpuExit::IoOut(port, data) => buses.ports.write(u64::from(port), data),
        VcpuExit::MmioRead(address, data) => buses.mmio.read(address, data),
        VcpuExit::MmioWrite(address, data) => buses.mmio.write(address, data),
        VcpuExit::Intr | VcpuExit::IrqWindowOpen => true,
        VcpuExit::Shutdown => return Step::Broken(Breakage::TripleFault),
        VcpuExit::InternalError => return Step::Broken(Breakage::InternalError),
        VcpuExit::FailEntry(reason, _) => return Step::Broken(Breakage::EntryFailed(reason)),
        other => return Step::Broken(Breakage::Unexpected(format!("{other:?}"))),
    };
    // A device may have ended the run, or somebody outside.
    match buses.outcome.get() {
        None => Step::Continue,
        Some(Ending::Exit(Exit::Panic)) => Step::Broken(Breakage::Panic),
        Some(Ending::UnknownExit(value)) => Step::Broken(Breakage::UnknownExit(value)),
        Some(ending) => Step::End(ending),
    }
}

/// A guest that cannot go on, with its state.
#[derive(Debug)]
pub struct Crash {
    /// Why.
    pub breakage: Breakage,
    registers: Option<(kvm_regs, kvm_sregs)>,
    code: Vec<u8>,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the guest crashed: {}", self.breakage)?;
        let Some((r, s)) = &self.registers else {
            return Ok(());
        };
        let rows = [
            [("rax", r.rax), ("rbx", r.rbx), ("rcx", r.rcx), ("rdx", r.rdx)],
            [("rsi", r.rsi), ("rdi", r.rdi), ("rbp", r.rbp), ("rsp", r.rsp)],
            [("r8", r.r8), ("r9", r.r9), ("r10", r.r10), ("r11", r.r11)],
            [("r12", r.r12), ("r13", r.r13), ("r14", r.r14), ("r15", r.r15)],
            [("rip", r.rip), ("rfl", r.rflags), ("cr2", s.cr2), ("cr3", s.cr3)],
            [("cr0", s.cr0), ("cr4", s.cr4), ("efer", s.efer), ("cs", u64::from(s.cs.selector))],
        ];
        for row in rows {
            writeln!(f)?;
            for (name, value) in row {
                write!(f, "  {name:>4} {value:016x}")?;
            }
        }
        write!(f, "\n  code at rip:")?;
        if self.code.is_empty() {
            write!(f, " not mapped")?;
        }
        self.code.iter().try_for_each(|byte| write!(f, " {byte:02x}"))
    }
}

/// Where a guest is.
#[derive(Debug)]
pub struct Place {
    ring: u16,
    rip: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "in ring {} at {:#x}", self.ring, self.rip)
    }
}

/// Where the guest of a vCPU that stands still is; `None` where KVM does not say.
pub fn place(vcpu: &VcpuFd) -> Option<Place> {
    let (regs, sregs) = registers(vcpu)?;
    // The lowest bits of cs are the ring (Intel SDM volume 3, 3.4.2).
    Some(Place { ring: sregs.cs.selector & 3, rip: regs.rip })
}

/// The most bytes that an x86 instruction has.
const LONGEST_INSTRUCTION: usize = 15;

/// What is known of a guest that cannot go on.
pub fn autopsy(vcpu: &VcpuFd, ram: &GuestRam, breakage: Breakage) -> Crash {
    let registers = registers(vcpu);
    let code = registers.as_ref().map_or_else(Vec::new, |(regs, _)| code_at(vcpu, ram, regs.rip));
    Crash { breakage, registers, code }
}

fn registers(vcpu: &VcpuFd) -> Option<(kvm_regs, kvm_sregs)> {
    let registers = vcpu
        .get_regs()
        .during("give the registers")
        .and_then(|regs| Ok((regs, vcpu.get_sregs().during("give the system registers")?)));
    registers.inspect_err(|error| log::warn!("{error}")).ok()
}

fn code_at(vcpu: &VcpuFd, ram: &GuestRam, rip: u64) -> Vec<u8> {
    (rip..rip.saturating_add(LONGEST_INSTRUCTION as u64))
        .map_while(|address| {
            let translation = vcpu.translate_gva(address).ok().filter(|found| found.valid != 0)?;
            ram.memory().read_obj(GuestAddress(translation.physical_address)).ok()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use abi::port::EXIT;

    use super::*;

    fn buses() -> Buses {
        Buses::for_tests()
    }

    #[test]
    fn a_word_at_the_exit_port_ends_the_guest() {
        let buses = buses();
        let word = Exit::Status(7).encode().to_le_bytes();
        assert_eq!(
            handle_exit(VcpuExit::IoOut(EXIT, &word), &buses),
            Step::End(Ending::Exit(Exit::Status(7)))
        );
    }

    #[test]
    fn a_kernel_that_gives_up_is_a_crash() {
        for (word, breakage) in
            [(Exit::Panic.encode(), Breakage::Panic), (0xdead, Breakage::UnknownExit(0xdead))]
        {
            let step = handle_exit(VcpuExit::IoOut(EXIT, &word.to_le_bytes()), &buses());
            assert_eq!(step, Step::Broken(breakage));
        }
    }

    #[test]
    fn a_guest_that_waits_waits_unless_the_run_is_over() {
        let buses = buses();
        assert_eq!(handle_exit(VcpuExit::IoOut(IDLE, &[0]), &buses), Step::Wait);
        buses.outcome.end(Ending::Stopped);
        assert_eq!(handle_exit(VcpuExit::IoOut(IDLE, &[0]), &buses), Step::End(Ending::Stopped));
    }

    #[test]
    fn an_access_that_nobody_claims_reads_ones_and_goes_on() {
        let buses = buses();
        let mut data = [0; 4];
        assert_eq!(handle_exit(VcpuExit::IoIn(0x70, &mut data[..1]), &buses), Step::Continue);
        assert_eq!(handle_exit(VcpuExit::MmioRead(0xc800_0000, &mut data), &buses), Step::Continue);
        assert_eq!(data, [0xff; 4]);
        assert_eq!(handle_exit(VcpuExit::MmioWrite(u64::MAX, &data), &buses), Step::Continue);
        assert_eq!(handle_exit(VcpuExit::IoOut(0xffff, &[1, 2]), &buses), Step::Continue);
    }

    #[test]
    fn a_guest_that_cannot_go_on_is_told_apart() {
        let buses = buses();
        for (exit, breakage) in [
            (VcpuExit::Shutdown, Breakage::TripleFault),
            (VcpuExit::InternalError, Breakage::InternalError),
            (VcpuExit::FailEntry(7, 0), Breakage::EntryFailed(7)),
            (VcpuExit::Hlt, Breakage::Unexpected("Hlt".into())),
        ] {
            assert_eq!(handle_exit(exit, &buses), Step::Broken(breakage));
        }
    }

    #[test]
    fn a_run_that_was_ended_from_outside_ends_at_the_next_exit() {
        let buses = buses();
        assert_eq!(handle_exit(VcpuExit::Intr, &buses), Step::Continue);
        buses.outcome.end(Ending::Stopped);
        assert_eq!(handle_exit(VcpuExit::Intr, &buses), Step::End(Ending::Stopped));
    }
}
