//! Steps aside when the thread that answers faults and the one that faults share a CPU.
//!
//! Each wakes the other and is then in its way: the thread that was woken takes the CPU from the one that woke it, which cannot
//! look for the next fault. The kernel's scheduler does not part the two, because neither ever waits long for the CPU (measured: 46 us
//! a fault together, 33 apart). So when most answers of late ended in losing the CPU, the thread moves to another one.

use rustix::thread::{CpuSet, sched_getaffinity, sched_getcpu, sched_setaffinity};

/// Answers between two looks.
const PERIOD: u32 = 64;

/// What is known of a thread's recent answers.
#[derive(Debug)]
pub struct Aside {
    answers: u32,
    lost: i64,
}

impl Aside {
    /// For the calling thread.
    pub fn new() -> Self {
        Self { answers: 0, lost: times_lost() }
    }

    /// The calling thread answered a fault while faults are frequent.
    pub fn answered(&mut self) {
        self.answers += 1;
        if self.answers < PERIOD {
            return;
        }
        let lost = times_lost();
        if lost - self.lost > i64::from(PERIOD / 2) {
            leave_this_cpu();
        }
        *self = Self { answers: 0, lost };
    }
}

/// How often the calling thread lost its CPU to another.
fn times_lost() -> i64 {
    // SAFETY: a structure of integers, for which zeros are valid.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one such structure. It cannot fail for the calling thread.
    unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) };
    usage.ru_nivcsw
}

/// Moves the calling thread to another CPU, if it may run on one, and leaves it free to go back.
fn leave_this_cpu() {
    let moved = sched_getaffinity(None).and_then(|all: CpuSet| {
        let mut others = all;
        others.unset(sched_getcpu());
        if others.count() == 0 {
            return Ok(());
        }
        sched_setaffinity(None, &others)?;
        sched_setaffinity(None, &all)
    });
    if let Err(error) = moved {
        log::debug!("cannot move to another CPU: {error}");
    }
}
