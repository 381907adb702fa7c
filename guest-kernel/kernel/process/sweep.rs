//! Sweeps for the host: where it wants to know which pages programs use, it reads the accessed bits of their page tables, and the
//! kernel takes the bits away when the host has read them ([`abi::roots`]).
//!
//! A tick sweeps for a tenth of a time slice, and at least some entries where even these take longer. What the bits said is kept for
//! the kernel's own policies.

use abi::addr::Gva;
use abi::layout::ROOTS;
use abi::roots::Roots;

use super::tasks::Tasks;
use crate::arch::direct;
use crate::time::{Clock, SECOND};

/// How long a tick sweeps, in nanoseconds.
const TIME: u64 = SECOND / 1000;
/// Entries that are looked at between two looks at the clock.
const ENTRIES: u32 = 32;

/// The sweep that is going on, if there is one.
pub struct Sweep {
    roots: &'static mut Roots,
    /// The number of the address space where it goes on, and the page.
    space: u32,
    page: Gva,
}

impl Sweep {
    /// None is wanted yet.
    ///
    /// # Safety
    /// The VMM set the page aside, and this is called once.
    #[must_use]
    pub unsafe fn new() -> Self {
        // SAFETY: the caller vouches for the page, which nothing else in the kernel refers to; any bytes are roots.
        let roots = unsafe { &mut *direct::pointer::<Roots>(ROOTS) };
        Self { roots, space: 0, page: Gva(0) }
    }

    /// A timer tick.
    pub fn tick(&mut self, tasks: &Tasks, clock: &Clock) {
        // SAFETY: a field of our own structure. Volatile because the VMM writes it.
        let wanted = unsafe { (&raw const self.roots.wanted).read_volatile() };
        if wanted == self.roots.done {
            return;
        }
        let end = clock.now() + TIME;
        while self.sweep_some(tasks) {
            if clock.now() > end {
                return;
            }
        }
        self.finish(tasks, wanted);
    }

    /// Goes on for some entries. Returns whether there are more.
    fn sweep_some(&mut self, tasks: &Tasks) -> bool {
        let to_come = tasks.spaces().filter(|space| space.number >= self.space);
        let Some(space) = to_come.min_by_key(|space| space.number) else { return false };
        let from = if space.number == self.space { self.page } else { Gva(0) };
        (self.space, self.page) = match space.take_marks(from, ENTRIES) {
            Ok(()) => (space.number + 1, Gva(0)),
            Err(page) => (space.number, page),
        };
        true
    }

    fn finish(&mut self, tasks: &Tasks, wanted: u32) {
        let mut count = 0;
        for (root, space) in self.roots.roots.iter_mut().zip(tasks.spaces()) {
            *root = space.table.root();
            count += 1;
        }
        self.roots.count = count;
        // SAFETY: a field of our own structure. Volatile because the VMM reads it, and takes the rest for done then; on
        // x86 stores are seen in their order.
        unsafe { (&raw mut self.roots.done).write_volatile(wanted) };
        (self.space, self.page) = (0, Gva(0));
    }
}
