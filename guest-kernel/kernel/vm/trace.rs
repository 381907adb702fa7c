//! A record of every fault that was served, for those who want the pages in their order.

use abi::addr::{Gva, PAGE_SHIFT};
use abi::layout::TRACE;
use abi::port;
use abi::stats::Source;
use abi::trace::{Buffer, RECORDS, Record};

use super::page::Rights;
use crate::arch::{cpu, direct};

/// The buffer that the VMM reads.
pub struct Trace(&'static mut Buffer);

impl Trace {
    /// An empty buffer.
    ///
    /// # Safety
    /// The VMM set the room aside, and this is called once.
    #[must_use]
    pub unsafe fn new() -> Self {
        // SAFETY: the caller vouches for the room, which nothing else refers to; any bytes are a buffer.
        let buffer = unsafe { &mut *direct::pointer::<Buffer>(TRACE) };
        buffer.count = 0;
        Self(buffer)
    }

    /// Records a fault that was served.
    pub fn record(&mut self, (space, gva): (u32, Gva), access: Rights, source: Source, since: u64) {
        let time = cpu::rdtsc();
        let cause =
            if access.allow(Rights::WRITE) { 1 } else { u16::from(access.allow(Rights::EXECUTE)) * 2 };
        let (page, source) = (gva.0 >> PAGE_SHIFT, source as u16);
        let Some(place) = self.0.records.get_mut(self.0.count as usize) else { return };
        *place = Record { time, served: time - since, page, space, source, cause };
        self.0.count += 1;
        if self.0.count == RECORDS as u64 {
            // SAFETY: the port takes the records and touches no memory.
            unsafe { cpu::out32(port::TRACE, 0) };
            self.0.count = 0;
        }
    }
}
