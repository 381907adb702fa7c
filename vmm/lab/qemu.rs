//! The emulated machine: QEMU without KVM (TCG), a CPU with AMD's virtualization (SVM) and nested paging (NPT).

use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::str::FromStr;

use super::LabError;
use super::child;
use super::initrd::Initrd;
use super::parts::{Kernel, Qemu};
use crate::memory::Size;

/// What the kernel and its work need beside the initrd and its unpacked copy.
const KERNEL_MEMORY: u64 = 192 << 20;

/// The machine that a job runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its RAM.
    pub memory: Size,
    /// How many CPUs.
    pub cpus: u8,
    /// Whether KVM uses nested paging; without it KVM shadows the guest's page tables.
    pub npt: bool,
    /// Huge pages that are set aside at boot.
    pub huge_pages: HugePages,
    /// More words for the kernel's command line.
    pub kernel_parameters: Vec<String>,
}

/// How many huge pages to set aside, such as `2M=64,1G=1`.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct HugePages {
    /// Of 2 MiB.
    pub huge_2m: u32,
    /// Of 1 GiB.
    pub huge_1g: u32,
}

impl FromStr for HugePages {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut pages = Self::default();
        for item in text.split(',') {
            let (size, count) = item.split_once('=').unwrap_or((item, ""));
            let count = count.parse();
            match (size, count) {
                ("2M", Ok(count)) => pages.huge_2m = count,
                ("1G", Ok(count)) => pages.huge_1g = count,
                _ => return Err(format!("{item:?} is not 2M=COUNT or 1G=COUNT")),
            }
        }
        Ok(pages)
    }
}

impl HugePages {
    const fn bytes(self) -> u64 {
        ((self.huge_2m as u64) << 21) + ((self.huge_1g as u64) << 30)
    }
}

/// A running emulator and the host's ends of its serial ports.
#[derive(Debug)]
pub struct Emulator {
    /// The process; its standard output is the console, its standard error its complaints.
    pub child: Child,
    /// Frames to and from process 1.
    pub channel: UnixStream,
}

impl Machine {
    /// The modules to load in order, with their parameters. One that is missing here is built in, or its
    /// absence will be noticed by those that need it.
    #[must_use]
    pub fn modules(&self, kernel: &Kernel) -> Vec<(PathBuf, String)> {
        let npt = format!("npt={}", u8::from(self.npt));
        let wanted = [("irqbypass", String::new()), ("kvm", String::new()), ("kvm-amd", npt)];
        wanted.into_iter().filter_map(|(name, parameters)| Some((kernel.module(name)?, parameters))).collect()
    }

    /// Refuses a machine that could not even unpack its initrd.
    ///
    /// # Errors
    /// It has too little memory.
    pub fn check_memory(&self, initrd_bytes: u64) -> Result<(), LabError> {
        // The packed and the unpacked initrd are there at the same time.
        let bytes = (2 * initrd_bytes + KERNEL_MEMORY + self.huge_pages.bytes()).next_multiple_of(64 << 20);
        let needed = Size::mib(bytes >> 20);
        if self.memory < needed {
            return Err(LabError::Memory { given: self.memory, needed });
        }
        Ok(())
    }

    /// Starts it. It dies with this process.
    ///
    /// # Errors
    /// QEMU cannot be started.
    pub fn start(&self, qemu: &Qemu, kernel: &Kernel, initrd: &Initrd) -> Result<Emulator, LabError> {
        let start = |error| LabError::Start { program: qemu.program.clone(), error };
        let (channel, far_end) = UnixStream::pair().map_err(start)?;
        let mut command = qemu.command();
        command
            .args("-nodefaults -no-user-config -machine q35 -accel tcg,thread=multi".split(' '))
            .args("-cpu max,+svm,+npt,-erms,-fsrm -display none -monitor none -no-reboot".split(' '))
            .args(["-m", &format!("{}K", self.memory.bytes() >> 10), "-smp", &self.cpus.to_string()])
            .arg("-kernel")
            .arg(&kernel.image)
            .args(["-initrd", &format!("/proc/self/fd/{}", initrd.memory().as_raw_fd())])
            .args(["-append", &self.kernel_command_line()])
            .args(["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"])
            .args(["-chardev", &format!("socket,id=channel,fd={}", far_end.as_raw_fd())])
            .args(["-serial", "chardev:channel"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let child = child::spawn(&mut command, &[initrd.memory(), far_end.as_fd()]).map_err(start)?;
        Ok(Emulator { child, channel })
    }

    fn kernel_command_line(&self) -> String {
        let mut line =
            "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check".to_owned();
        for (size, count) in [("1G", self.huge_pages.huge_1g), ("2M", self.huge_pages.huge_2m)] {
            if count > 0 {
                line += &format!(" hugepagesz={size} hugepages={count}");
            }
        }
        for parameter in &self.kernel_parameters {
            line += " ";
            line += parameter;
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(memory: Size, huge_pages: &str) -> Machine {
        let huge_pages = huge_pages.parse().expect("a list of huge pages");
        Machine { memory, cpus: 1, npt: true, huge_pages, kernel_parameters: vec!["norandmaps".to_owned()] }
    }

    #[test]
    fn huge_pages_are_set_aside_on_the_kernels_command_line() {
        let line = machine(Size::mib(4096), "2M=64,1G=1").kernel_command_line();
        assert!(line.ends_with("hugepagesz=1G hugepages=1 hugepagesz=2M hugepages=64 norandmaps"), "{line}");
        for wrong in ["", "2M", "4K=1", "2M=-1", "2M=1,"] {
            assert!(wrong.parse::<HugePages>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_that_cannot_hold_the_job_is_refused_with_what_it_takes() {
        let small = machine(Size::mib(256), "2M=1");
        assert!(small.check_memory(1 << 20).is_ok());
        let refused = small.check_memory(100 << 20).map_err(|error| error.to_string());
        let expected = "256 MiB is too little memory for this job in the lab: give --memory 448M or more";
        assert_eq!(refused, Err(expected.to_owned()));
    }
}
