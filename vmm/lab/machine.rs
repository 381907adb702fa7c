//! The emulated machine, whatever emulates it: CPUs, memory, kernel command line.

use std::path::PathBuf;
use std::str::FromStr;

use super::LabError;
use super::parts::Kernel;
use crate::memory::Size;

/// What the kernel and its work need beside the initrd and its unpacked copy.
const KERNEL_MEMORY: u64 = 192 << 20;

/// The machine that a job runs on.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Its RAM.
    pub memory: Size,
    /// Whose CPUs.
    pub vendor: Vendor,
    /// How many.
    pub cpus: u8,
    /// Whether KVM uses nested paging (NPT, EPT); without it KVM shadows the guest's page tables.
    pub nested_paging: bool,
    /// Huge pages that are set aside at boot.
    pub huge_pages: HugePages,
    /// Whether its clock counts instructions, one a nanosecond, so that every run takes exactly as long as the
    /// last one. QEMU only, and one CPU.
    pub exact_clock: bool,
    /// More words for the kernel's command line.
    pub kernel_parameters: Vec<String>,
}

impl Default for Machine {
    fn default() -> Self {
        Self {
            memory: Size::mib(4096),
            vendor: Vendor::Amd,
            cpus: 2,
            nested_paging: true,
            huge_pages: HugePages::default(),
            exact_clock: false,
            kernel_parameters: Vec::new(),
        }
    }
}

/// Whose CPUs the machine has, and so what emulates it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// SVM with NPT, by QEMU.
    Amd,
    /// VMX with EPT, by Bochs: slower.
    Intel,
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

    /// Those that are wanted, for process 1 to see whether they are there.
    #[must_use]
    pub fn wanted(self) -> Vec<lab_init::HugePages> {
        let both = [(2 << 10, self.huge_2m), (1 << 20, self.huge_1g)];
        let wanted = both.into_iter().filter(|&(_, count)| count > 0);
        wanted.map(|(kib, count)| lab_init::HugePages { kib, count }).collect()
    }
}

impl Machine {
    /// The modules to load in order, with their parameters. One that is missing here is built in, or its
    /// absence will be noticed by those that need it.
    #[must_use]
    pub fn modules(&self, kernel: &Kernel) -> Vec<(PathBuf, String)> {
        let vendors_own = match self.vendor {
            Vendor::Amd => ("kvm-amd", format!("npt={}", u8::from(self.nested_paging))),
            Vendor::Intel => ("kvm-intel", format!("ept={}", u8::from(self.nested_paging))),
        };
        let wanted = [("irqbypass", String::new()), ("kvm", String::new()), vendors_own];
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

    /// What the kernel is told at boot.
    #[must_use]
    pub fn kernel_command_line(&self) -> String {
        let mut line =
            "console=ttyS0 quiet panic=-1 mitigations=off nokaslr tsc=reliable no_timer_check".to_owned();
        for (size, count) in [("1G", self.huge_pages.huge_1g), ("2M", self.huge_pages.huge_2m)] {
            if count > 0 {
                line += &format!(" hugepagesz={size} hugepages={count}");
            }
        }
        if self.exact_clock {
            line += " norandmaps";
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
        Machine { memory, huge_pages, kernel_parameters: vec!["norandmaps".to_owned()], ..Machine::default() }
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
