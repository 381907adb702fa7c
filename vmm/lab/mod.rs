//! The lab: a host that is emulated in software, with nested paging in its CPU, so that the guest runs under
//! NPT on a machine that has no such CPU, or no /dev/kvm at all.
//!
//! ```text
//!     this process                      emulator (QEMU or Bochs)
//!       session: frames  <-- serial 2 -->  init (process 1) -- pipes -- the job: bifold under its own /dev/kvm
//!                console <-- serial 1 ---  Linux, kvm, kvm-amd or kvm-intel
//! ```
//!
//! `parts` finds or fetches the emulator and the kernel, `job` says what is run and what it needs, `initrd`
//! packs it, `machine` describes the machine, `qemu` and `bochs` start it, `session` carries its streams until it ends. `init/` is a program of its
//! own that runs inside.

mod apt;
mod bochs;
mod cache;
mod child;
mod count;
mod doctor;
mod emulator;
mod error;
mod initrd;
mod job;
mod machine;
mod outputs;
mod parts;
mod qemu;
mod session;
mod suite;

pub use count::{Counts, count, count_linux};
pub use doctor::doctor;
pub use error::LabError;
pub use job::Job;
pub use machine::{HugePages, Machine, Vendor};
pub use parts::is_installed;

use std::time::Duration;

use outputs::Outputs;

/// Runs a job and returns its exit status. Its output goes to this process's as it comes.
///
/// # Errors
/// The lab itself fails: a part is missing, the machine does not start, dies or exceeds `timeout`.
pub fn run(machine: &Machine, job: Job, timeout: Option<Duration>) -> Result<u8, LabError> {
    Ok(run_to_end(machine, job, timeout)?.status)
}

fn run_to_end(
    machine: &Machine,
    mut job: Job,
    timeout: Option<Duration>,
) -> Result<session::Ended, LabError> {
    let kernel = parts::Kernel::locate()?;
    // Bochs's serial ports take no input.
    job.stdin &= machine.vendor == Vendor::Amd;
    let stdin = job.stdin;
    let outputs = Outputs::new(job.outputs.iter().cloned());
    let initrd = job.pack(machine, &kernel)?;
    machine.check_memory(initrd.bytes())?;
    let emulator = match machine.vendor {
        Vendor::Amd => qemu::start(machine, &parts::Qemu::locate()?, &kernel, &initrd)?,
        Vendor::Intel => bochs::start(machine, &parts::Bochs::locate()?, &kernel, &initrd)?,
    };
    session::run(emulator, stdin, outputs, timeout)
}
