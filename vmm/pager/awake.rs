//! Keeps the host's CPUs from falling asleep while faults are frequent.
//!
//! A vCPU that waits for a page leaves its CPU with nothing to do. To wake a CPU takes longer than to answer most faults: tens of microseconds
//! from a deep sleep state, and as long in a virtual machine, where to halt is to leave it for the host. So the kernel is asked for less
//! (PM QoS, Documentation/power/pm_qos_interface.rst): a request lasts as long as its file is open, so it ends with this process at the latest.

use std::arch::x86_64::__cpuid;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Where a process asks. Root's.
const REQUESTS: &str = "/dev/cpu_dma_latency";
/// No request.
const NONE: i32 = -1;
/// After so long without a fault the CPUs may sleep: each change wakes all of them.
pub const REST: Duration = Duration::from_millis(10);

/// The request.
#[derive(Debug)]
pub struct Awake {
    /// `None`: it cannot be made.
    requests: Option<File>,
    made: AtomicBool,
}

impl Awake {
    /// Not asked for yet. With one CPU it never is: whoever answers needs it.
    pub fn new(cpus: u32) -> Self {
        let requests = (cpus > 1).then(|| OpenOptions::new().write(true).open(REQUESTS));
        let requests = requests.and_then(|requests| {
            requests
                .inspect_err(|error| log::debug!("CPUs may sleep between faults: {REQUESTS}: {error}"))
                .ok()
        });
        Self { requests, made: AtomicBool::new(false) }
    }

    /// Has CPUs stay awake.
    pub fn stay(&self) {
        if !self.made.load(Ordering::Relaxed) && !self.made.swap(true, Ordering::Relaxed) {
            self.ask(microseconds());
        }
    }

    /// Whether they do.
    pub fn stays(&self) -> bool {
        self.made.load(Ordering::Relaxed)
    }

    /// Lets them sleep again.
    pub fn rest(&self) {
        if self.made.swap(false, Ordering::Relaxed) {
            self.ask(NONE);
        }
    }

    fn ask(&self, latency: i32) {
        let write = |mut file: &File| -> io::Result<()> { file.write_all(&latency.to_ne_bytes()) };
        if let Some(Err(error)) = self.requests.as_ref().map(write) {
            log::debug!("{REQUESTS}: {error}");
        }
    }
}

/// How long a CPU may take to wake: on bare metal what its lightest sleep takes, in a virtual machine nothing at all.
fn microseconds() -> i32 {
    // Bit 31 of ecx: a hypervisor is there (Intel SDM volume 2, CPUID; always 0 on bare metal).
    if __cpuid(1).ecx >> 31 == 1 { 0 } else { 2 }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn cpus_stay_awake_from_the_first_request_until_they_may_rest() {
        let awake = Awake::new(2);
        assert!(!awake.stays());
        awake.stay();
        assert!(awake.stays());
        // The file tells the strictest of all requests. Only root may ask.
        if let Ok(least) = fs::read(REQUESTS) {
            let least = i32::from_ne_bytes(least.try_into().expect("four bytes"));
            assert!((0..=2).contains(&least), "{least}");
        }
        awake.rest();
        assert!(!awake.stays());
    }

    #[test]
    fn the_only_cpu_is_never_kept_awake() {
        assert!(Awake::new(1).requests.is_none());
    }
}
