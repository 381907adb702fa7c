//! The CPU's event counters: found by opening one of each (perf_event_open(2)).

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{FromRawFd, RawFd};

use serde::Serialize;

/// PERF_TYPE_HARDWARE and PERF_TYPE_HW_CACHE with the events of linux/perf_event.h.
const EVENTS: &[(&str, u32, u64)] = &[
    ("cycles", 0, 0),
    ("instructions", 0, 1),
    ("cache misses", 0, 3),
    ("dTLB load misses", 3, 0x1_0003),
    ("dTLB store misses", 3, 0x1_0103),
];
/// exclude_kernel and exclude_hv: what an ordinary user may ask for.
const USER_ONLY: u64 = 1 << 5 | 1 << 6;

/// Which events this user can count.
#[derive(Debug, Serialize)]
pub struct Counters {
    /// Each event that was tried.
    pub events: Vec<HardwareEvent>,
    /// The sysctl kernel.perf_event_paranoid; `null`: this kernel has no perf.
    pub paranoid: Option<i32>,
}

/// An event.
#[derive(Debug, Serialize)]
pub struct HardwareEvent {
    /// Its name.
    pub name: &'static str,
    /// Why it cannot be counted; `null` when it can.
    pub error: Option<String>,
}

/// The first 64 bytes of struct perf_event_attr, which every kernel takes (PERF_ATTR_SIZE_VER0).
#[repr(C)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample: [u64; 3],
    flags: u64,
    rest: [u64; 2],
}

impl Counters {
    pub(super) fn of_this_host() -> Self {
        let paranoid = fs::read_to_string("/proc/sys/kernel/perf_event_paranoid").ok();
        let event = |&(name, kind, config): &(&'static str, u32, u64)| HardwareEvent {
            name,
            error: count(kind, config).err().map(|error| error.to_string()),
        };
        Self {
            events: EVENTS.iter().map(event).collect(),
            paranoid: paranoid.and_then(|text| text.trim().parse().ok()),
        }
    }

    /// The command that would let this user count, where it is only forbidden.
    fn remedy(&self) -> &'static str {
        match self.paranoid {
            Some(level) if level > 2 => "; as root, sysctl kernel.perf_event_paranoid=2",
            Some(_) => "; a virtual machine shows them if its hypervisor does",
            None => "; use a kernel with CONFIG_PERF_EVENTS",
        }
    }
}

/// Has an event counted for a moment. Some virtual machines let one be opened, and count nothing.
fn count(kind: u32, config: u64) -> io::Result<()> {
    let mut counter = open(kind, config)?;
    // Memory that nobody has touched yet: work of each kind that is counted.
    std::hint::black_box(vec![1_u8; 4 << 20]);
    let mut count = [0; 8];
    counter.read_exact(&mut count)?;
    if u64::from_ne_bytes(count) > 0 { Ok(()) } else { Err(io::Error::other("it counts nothing here")) }
}

fn open(kind: u32, config: u64) -> io::Result<File> {
    let size = size_of::<Attributes>() as u32;
    let attributes = Attributes { kind, size, config, sample: [0; 3], flags: USER_ONLY, rest: [0; 2] };
    let (this_process, any_cpu, no_group) = (0, -1, -1);
    // SAFETY: the kernel reads `size` bytes of `attributes`, which lives through the call, and writes
    // nothing.
    let fd = unsafe {
        let attributes = std::ptr::from_ref(&attributes);
        libc::syscall(libc::SYS_perf_event_open, attributes, this_process, any_cpu, no_group, 0_u64)
    };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor, and nobody else knows it; descriptors fit into an
    // int.
    Ok(unsafe { File::from_raw_fd(fd as RawFd) })
}

impl fmt::Display for Counters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counted = self.events.iter().filter(|event| event.error.is_none()).map(|event| event.name);
        let counted = counted.collect::<Vec<_>>().join(", ");
        if !counted.is_empty() {
            return f.write_str(&counted);
        }
        let error = self.events.first().and_then(|event| event.error.as_deref()).unwrap_or_default();
        write!(f, "none: {error}{}", self.remedy())
    }
}
