//! Where a huge page is put together before it goes into guest RAM.
//!
//! Memory of a thread's own, which userfaultfd does not watch: a touch gives a fresh page of zeros. UFFDIO_MOVE takes the
//! page away when it is complete.

use std::io;

use abi::addr::Hva;
use rustix::io::Errno;
use rustix::mm::{Advice, madvise};

use super::frames::GROUP;
use super::staging::HUGE_BYTES;
use crate::memory::Mapping;
use crate::store::PageBytes;

/// The memory of one huge page.
pub struct Landing(Mapping);

impl Landing {
    /// Maps it. It takes no frame yet.
    pub fn new() -> io::Result<Self> {
        let landing = Self(Mapping::new(HUGE_BYTES)?);
        landing.advise(Advice::LinuxHugepage)?;
        Ok(landing)
    }

    /// Where it is.
    pub const fn start(&self) -> Hva {
        self.0.start()
    }

    /// Its pages, all there: of zeros if they were moved away since this was last asked. A huge page if the host's kernel
    /// finds one, else 512 small ones.
    pub fn pages(&mut self) -> io::Result<&mut [PageBytes]> {
        match self.advise(Advice::LinuxPopulateWrite) {
            // Before Linux 5.14: touching them below does it.
            Err(Errno::INVAL) | Ok(()) => {}
            Err(errno) => return Err(errno.into()),
        }
        // SAFETY: the memory is ours, aligned to more than a page, and nobody else knows of it; borrowing `self` for
        // as long as the answer keeps it there. Any bytes are valid pages.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.0.pointer().cast::<PageBytes>(), GROUP as usize) })
    }

    fn advise(&self, advice: Advice) -> Result<(), Errno> {
        // SAFETY: the range is our mapping, and neither advice that is given here changes what is in it.
        unsafe { madvise(self.0.pointer().cast(), HUGE_BYTES, advice) }
    }
}
