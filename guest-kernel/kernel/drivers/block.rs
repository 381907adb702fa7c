//! A virtio disk (virtio 1.2, section 5.2): one request at a time, straight to and from frames.

#[cfg(test)]
use abi::addr::Gpa;
use abi::addr::PAGE_SIZE;

/// The device did not do what it was asked to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failed;

/// Sectors are 512 bytes.
pub const SECTORS_A_PAGE: u64 = PAGE_SIZE as u64 / 512;
/// Most segments of a request.
pub const MAX_SEGMENTS: usize = 16;

#[cfg(not(test))]
pub use virtio::Block;

#[cfg(not(test))]
mod virtio {
    use alloc::boxed::Box;
    use core::iter::once;
    use core::ptr::{addr_of, addr_of_mut};

    use abi::addr::Gpa;

    use super::{Failed, MAX_SEGMENTS};
    use crate::arch::direct;
    use crate::drivers::mmio::{Mmio, NoDevice};
    use crate::drivers::queue::{Queue, Segment};

    mod feature {
        pub const FLUSH: u64 = 1 << 9;
    }

    const READ: u32 = 0;
    const WRITE: u32 = 1;
    const FLUSH: u32 = 4;
    const OK: u8 = 0;

    #[repr(C)]
    struct Request {
        kind: u32,
        reserved: u32,
        sector: u64,
        status: u8,
    }

    /// The disk.
    pub struct Block {
        queue: Queue,
        request: *mut Request,
        /// Where the device finds the request's head, and where it puts the status.
        head: Segment,
        status: Segment,
        sectors: u64,
        flushes: bool,
    }

    impl Block {
        /// The disk in a window.
        ///
        /// # Errors
        /// There is none.
        pub fn open(base: Gpa) -> Result<Self, NoDevice> {
            let (device, features) = Mmio::open(base, feature::FLUSH)?;
            let queue = Queue::new(device, 0, false)?;
            device.start();
            let request = Box::leak(Box::new(Request { kind: 0, reserved: 0, sector: 0, status: 0 }));
            Ok(Self {
                queue,
                head: (direct::gpa_of(&raw const *request), 16, false),
                status: (direct::gpa_of(&raw const request.status), 1, true),
                request,
                sectors: u64::from(device.config(0)) | u64::from(device.config(4)) << 32,
                flushes: features & feature::FLUSH != 0,
            })
        }

        /// Its size.
        #[must_use]
        pub const fn sectors(&self) -> u64 {
            self.sectors
        }

        /// Fills frames (or parts of them) from the disk.
        ///
        /// # Errors
        /// The device failed; what was filled is unknown.
        pub fn read(&mut self, sector: u64, to: &[(Gpa, u32)]) -> Result<(), Failed> {
            self.transfer(READ, sector, to)
        }

        /// Writes frames (or parts of them) to the disk.
        ///
        /// # Errors
        /// The device failed; what was written is unknown.
        pub fn write(&mut self, sector: u64, from: &[(Gpa, u32)]) -> Result<(), Failed> {
            self.transfer(WRITE, sector, from)
        }

        /// Makes what was written last.
        ///
        /// # Errors
        /// The device failed.
        pub fn flush(&mut self) -> Result<(), Failed> {
            if self.flushes { self.transfer(FLUSH, 0, &[]) } else { Ok(()) }
        }

        fn transfer(&mut self, kind: u32, sector: u64, segments: &[(Gpa, u32)]) -> Result<(), Failed> {
            debug_assert!(segments.len() <= MAX_SEGMENTS);
            // SAFETY: the request lives for ever; the device uses it only inside `Queue::transfer`.
            unsafe {
                addr_of_mut!((*self.request).kind).write_volatile(kind);
                addr_of_mut!((*self.request).sector).write_volatile(sector);
                addr_of_mut!((*self.request).status).write_volatile(!OK);
            }
            let data = segments.iter().map(|&(gpa, len)| (gpa, len, kind == READ));
            let parts = segments.len() + 2;
            self.queue.transfer(Counted(once(self.head).chain(data).chain(once(self.status)), parts));
            // SAFETY: as above.
            let status = unsafe { addr_of!((*self.request).status).read_volatile() };
            if status == OK { Ok(()) } else { Err(Failed) }
        }
    }

    /// An iterator whose length is known from elsewhere.
    struct Counted<I>(I, usize);

    impl<I: Iterator> Iterator for Counted<I> {
        type Item = I::Item;

        fn next(&mut self) -> Option<I::Item> {
            let item = self.0.next();
            self.1 -= usize::from(item.is_some());
            item
        }

        fn size_hint(&self) -> (usize, Option<usize>) {
            (self.1, Some(self.1))
        }
    }

    impl<I: Iterator> ExactSizeIterator for Counted<I> {}
}

/// On the host a disk is a buffer, so that everything above it can be tested.
#[cfg(test)]
#[allow(missing_docs)]
pub struct Block {
    pub bytes: Vec<u8>,
    /// Requests from now on fail.
    pub broken: bool,
}

#[cfg(test)]
#[allow(missing_docs)]
impl Block {
    pub fn new(pages: usize) -> Self {
        Self { bytes: vec![0; pages * PAGE_SIZE], broken: false }
    }

    pub fn sectors(&self) -> u64 {
        self.bytes.len() as u64 / 512
    }

    pub fn read(&mut self, sector: u64, to: &[(Gpa, u32)]) -> Result<(), Failed> {
        self.transfer(sector, to, |disk, ram, len| {
            // SAFETY: the caller's segment of the test's RAM; the disk is elsewhere.
            unsafe { ram.copy_from_nonoverlapping(disk, len) }
        })
    }

    pub fn write(&mut self, sector: u64, from: &[(Gpa, u32)]) -> Result<(), Failed> {
        self.transfer(sector, from, |disk, ram, len| {
            // SAFETY: the caller's segment of the test's RAM; the disk is elsewhere.
            unsafe { disk.copy_from_nonoverlapping(ram, len) }
        })
    }

    pub fn flush(&mut self) -> Result<(), Failed> {
        if self.broken { Err(Failed) } else { Ok(()) }
    }

    fn transfer(
        &mut self,
        sector: u64,
        segments: &[(Gpa, u32)],
        copy: impl Fn(*mut u8, *mut u8, usize),
    ) -> Result<(), Failed> {
        assert!(segments.len() <= MAX_SEGMENTS);
        let mut at = sector as usize * 512;
        for &(gpa, len) in segments {
            let disk = self.bytes.get_mut(at..at + len as usize).filter(|_| !self.broken).ok_or(Failed)?;
            copy(disk.as_mut_ptr(), crate::arch::direct::pointer(gpa), len as usize);
            at += len as usize;
        }
        Ok(())
    }
}
