//! How the guest's kernel pages: what it is told at its start.

use std::fmt::{self, Display};
use std::str::FromStr;

use abi::boot::option;
use paging::policy::PolicyKind;

use crate::memory::Size;
use crate::named::by_name;

/// How the guest's kernel pages.
#[derive(Clone, Debug)]
pub struct GuestPaging {
    /// Which frames it evicts.
    pub policy: PolicyKind,
    /// What a program's anonymous memory consists of.
    pub page: GuestPage,
    /// How much of each process's anonymous memory may be in guest RAM; `None`: all of it.
    pub resident_limit: Option<Size>,
    /// Pages are read from swap ahead of need.
    pub readahead: bool,
    /// Processes leave RAM and come back whole.
    pub swaps_processes: bool,
    /// What is done when the working sets of all who run do not fit.
    pub load_control: LoadControl,
    /// The TLB keeps address spaces apart, where the CPU can.
    pub pcid: bool,
}

impl Default for GuestPaging {
    fn default() -> Self {
        Self {
            policy: PolicyKind::Clock,
            page: GuestPage::Small,
            resident_limit: None,
            readahead: true,
            swaps_processes: false,
            load_control: LoadControl::Off,
            pcid: true,
        }
    }
}

impl GuestPaging {
    /// The kernel's options.
    #[must_use]
    pub fn options(&self) -> Vec<String> {
        let mut options = vec![format!("{}={}", option::POLICY, self.policy)];
        options.push(format!("{}={}", option::LARGEST, self.page as u32));
        options.extend(self.resident_limit.map(|limit| format!("{}={}", option::RESIDENT, limit.bytes())));
        if !self.readahead {
            options.push(format!("{}=off", option::READAHEAD));
        }
        if self.swaps_processes {
            options.push(format!("{}=process", option::SWAP_UNIT));
        }
        options.push(format!("{}={}", option::LOAD, self.load_control.name()));
        if !self.pcid {
            options.push(format!("{}=off", option::PCID));
        }
        options
    }
}

/// What is done when the working sets of all who run do not fit into RAM together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadControl {
    /// Nothing.
    Off,
    /// Working sets are estimated, and told in /proc/PID/status.
    Watch,
    /// And some processes wait while others run.
    On,
}

impl LoadControl {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Watch, Self::On];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Watch => "watch",
            Self::On => "on",
        }
    }
}

impl FromStr for LoadControl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_name(Self::ALL, Self::name, text)
    }
}

/// The largest page that a program's anonymous memory has where it fits and can be had. The number is the page table's level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum GuestPage {
    /// 4 KiB, unless the program asks for huge pages (madvise, mmap).
    Small = 0,
    /// 2 MiB.
    Huge2M = 1,
    /// 1 GiB.
    Huge1G = 2,
}

impl GuestPage {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Small, Self::Huge2M, Self::Huge1G];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Small => "4k",
            Self::Huge2M => "2m",
            Self::Huge1G => "1g",
        }
    }
}

impl Display for GuestPage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for GuestPage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        by_name(Self::ALL, Self::name, text)
    }
}
