//! The AMD machine: QEMU without KVM (TCG), a CPU with virtualization (SVM) and nested paging (NPT).

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use super::LabError;
use super::child;
use super::emulator::{Emulator, stream};
use super::initrd::Initrd;
use super::machine::Machine;
use super::parts::{Kernel, Qemu};

/// Starts the machine. It dies with this thread.
///
/// # Errors
/// QEMU cannot be started.
pub fn start(machine: &Machine, qemu: &Qemu, kernel: &Kernel, initrd: &Initrd) -> Result<Emulator, LabError> {
    let start = |error| LabError::Start { program: qemu.program.clone(), error };
    let (channel, far_end) = UnixStream::pair().map_err(start)?;
    let mut command = qemu.command();
    command
        .args("-nodefaults -no-user-config -machine q35".split(' '))
        .args(clock(machine).split(' '))
        .args("-cpu max,+svm,+npt,-erms,-fsrm -display none -monitor none -no-reboot".split(' '))
        .args(["-m", &format!("{}K", machine.memory.bytes() >> 10), "-smp", &machine.cpus.to_string()])
        .arg("-kernel")
        .arg(&kernel.image)
        .args(["-initrd", &format!("/proc/self/fd/{}", initrd.memory().as_raw_fd())])
        .args(["-append", &machine.kernel_command_line()])
        .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
        .args(["-chardev", &format!("socket,id=channel,fd={}", far_end.as_raw_fd())])
        .args(["-serial", "chardev:channel"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = child::spawn(&mut command, &[initrd.memory(), far_end.as_fd()]).map_err(start)?;
    let console = stream(child.stdout.take()).chain(stream(child.stderr.take())).collect();
    Ok(Emulator { child, channel: File::from(OwnedFd::from(channel)), console })
}

/// How QEMU runs its CPUs, and what the clock is. The exact clock needs whatever else is random fixed, too.
///
/// The CPUs take turns on one thread. With a thread for each, QEMU 7.2 mixes up the states of host and guest when an interrupt
/// comes from another CPU around a VM exit: the VMCB then holds the host's registers, and guest or host ends in a
/// triple fault. Two guests that page hard showed it within a minute; on one thread fifty of them did not.
const fn clock(machine: &Machine) -> &'static str {
    if machine.exact_clock {
        "-accel tcg,thread=single -icount shift=0,sleep=off -rtc clock=vm,base=2026-01-01T00:00:00 -seed 1"
    } else {
        "-accel tcg,thread=single"
    }
}
