//! How the kernel reads and writes a program's memory.
//!
//! It never uses the program's addresses: each page is looked up (and brought in, as a fault would), and its frame is
//! used through the direct map. So a wild pointer is an error value here, and no fault can happen in the kernel.

use abi::addr::{Gpa, Gva, PAGE_SIZE};
use alloc::vec::Vec;

use super::Memory;
use super::fault::Invalid;
use super::frame::FrameIndex;
use super::page::Rights;
use super::space::AddressSpace;
use super::table::USER_END;
use crate::drivers::block::MAX_SEGMENTS;

/// Plain data that may be copied to and from a program byte by byte.
///
/// # Safety
/// Every bit pattern is a value, and there is no padding.
pub unsafe trait Plain: Copy {}
// SAFETY: integers.
unsafe impl Plain for u8 {}
// SAFETY: integers.
unsafe impl Plain for u16 {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: integers.
unsafe impl Plain for i32 {}
// SAFETY: integers.
unsafe impl Plain for u64 {}
// SAFETY: integers.
unsafe impl Plain for i64 {}
// SAFETY: an array has no padding of its own.
unsafe impl<T: Plain, const N: usize> Plain for [T; N] {}

fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: `Plain` has no padding, so all bytes are initialised; they live as long as the borrow.
    unsafe { core::slice::from_raw_parts(core::ptr::from_ref(value).cast(), size_of::<T>()) }
}

impl Memory {
    /// The frame of a page of a program, brought in and marked as the CPU would. It stays until the next
    /// call that may take a frame.
    ///
    /// # Errors
    /// What a fault there would be.
    pub fn user_frame(
        &mut self,
        space: &mut AddressSpace,
        gva: Gva,
        access: Rights,
    ) -> Result<FrameIndex, Invalid> {
        if gva >= USER_END {
            return Err(Invalid::NoArea);
        }
        loop {
            let (reference, within) = match space.table.find(gva) {
                Ok(reference) => (reference, 0),
                Err(above) => (above.entry, gva.page_start() - above.base),
            };
            let entry = reference.load();
            if entry.permits(access) {
                reference.store(entry.used(access.allow(Rights::WRITE)));
                return Ok(self.frames.at(entry.address() + within));
            }
            self.fault(space, gva, access)?;
        }
    }

    /// Calls `each` with the frame, the offset in it and the length of each part of a range that lies in one page, and the
    /// number of bytes before it.
    ///
    /// # Errors
    /// The first page that cannot be used; the parts before it are done.
    pub fn user_parts<E: From<Invalid>>(
        &mut self,
        space: &mut AddressSpace,
        start: Gva,
        len: usize,
        access: Rights,
        mut each: impl FnMut(&mut Self, FrameIndex, usize, usize, usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut done = 0;
        while done < len {
            let at = start.checked_add(done as u64).ok_or(Invalid::NoArea)?;
            let offset = at.page_offset();
            let part = (PAGE_SIZE - offset).min(len - done);
            let frame = self.user_frame(space, at, access)?;
            each(self, frame, offset, part, done)?;
            done += part;
        }
        Ok(())
    }

    /// Copies a program's bytes.
    ///
    /// # Errors
    /// A page cannot be read.
    pub fn read_user(&mut self, space: &mut AddressSpace, from: Gva, to: &mut [u8]) -> Result<(), Invalid> {
        self.user_parts(space, from, to.len(), Rights::READ, |memory, frame, offset, part, done| {
            memory.frames.read(frame, offset, &mut to[done..done + part]);
            Ok(())
        })
    }

    /// Copies bytes to a program.
    ///
    /// # Errors
    /// A page cannot be written; those before it are.
    pub fn write_user(&mut self, space: &mut AddressSpace, to: Gva, from: &[u8]) -> Result<(), Invalid> {
        self.user_parts(space, to, from.len(), Rights::WRITE, |memory, frame, offset, part, done| {
            memory.frames.write(frame, offset, &from[done..done + part]);
            Ok(())
        })
    }

    /// Clears a program's bytes.
    ///
    /// # Errors
    /// A page cannot be written; those before it are.
    pub fn zero_user(&mut self, space: &mut AddressSpace, start: Gva, len: usize) -> Result<(), Invalid> {
        self.user_parts(space, start, len, Rights::WRITE, |memory, frame, offset, part, _| {
            memory.frames.fill_zero(frame, offset, part);
            Ok(())
        })
    }

    /// Reads a value.
    ///
    /// # Errors
    /// A page cannot be read.
    pub fn get_user<T: Plain + Default>(
        &mut self,
        space: &mut AddressSpace,
        from: Gva,
    ) -> Result<T, Invalid> {
        let mut value = T::default();
        // SAFETY: any bytes make a `Plain` value; the slice is the value's own memory and the only reference to it.
        let bytes = unsafe {
            core::slice::from_raw_parts_mut(core::ptr::from_mut(&mut value).cast(), size_of::<T>())
        };
        self.read_user(space, from, bytes)?;
        Ok(value)
    }

    /// Writes a value.
    ///
    /// # Errors
    /// A page cannot be written.
    pub fn put_user<T: Plain>(
        &mut self,
        space: &mut AddressSpace,
        to: Gva,
        value: &T,
    ) -> Result<(), Invalid> {
        self.write_user(space, to, bytes_of(value))
    }

    /// A program's string up to its NUL, `None` where it has more than `limit` bytes.
    ///
    /// # Errors
    /// A page cannot be read.
    pub fn user_string(
        &mut self,
        space: &mut AddressSpace,
        from: Gva,
        limit: usize,
    ) -> Result<Option<Vec<u8>>, Invalid> {
        let mut string = Vec::new();
        let mut at = from;
        while string.len() <= limit {
            let part = PAGE_SIZE - at.page_offset();
            let frame = self.user_frame(space, at, Rights::READ)?;
            // Short pieces: most strings end soon, and each byte costs.
            let mut bytes = [0; 64];
            let piece = part.min(bytes.len());
            self.frames.read(frame, at.page_offset(), &mut bytes[..piece]);
            if let Some(end) = bytes[..piece].iter().position(|&byte| byte == 0) {
                string.extend_from_slice(&bytes[..end]);
                return Ok((string.len() <= limit).then_some(string));
            }
            string.extend_from_slice(&bytes[..piece]);
            at = at + piece as u64;
        }
        Ok(None)
    }

    /// Pins the frames under a range, as many as a request takes, and has `io` give them to a device, with the number of
    /// their bytes. Returns what `io` returned.
    ///
    /// # Errors
    /// The first page cannot be used; where a later one cannot, the range is cut short.
    pub fn with_pinned<R>(
        &mut self,
        space: &mut AddressSpace,
        range: (Gva, usize),
        access: Rights,
        io: impl FnOnce(&mut Self, &[(Gpa, u32)], usize) -> R,
    ) -> Result<R, Invalid> {
        let (start, len) = range;
        let mut segments = core::mem::take(&mut self.segments);
        segments.clear();
        let mut bytes = 0;
        let result = self.user_parts(space, start, len, access, |memory, frame, offset, part, done| {
            if segments.len() == MAX_SEGMENTS {
                return Err(Invalid::PastEnd);
            }
            memory.pinned.push(frame);
            segments.push((memory.frames.gpa(frame) + offset as u64, part as u32));
            bytes = done + part;
            Ok(())
        });
        let result = match result {
            Err(error) if bytes == 0 => Err(error),
            _ => Ok(io(self, &segments, bytes)),
        };
        self.segments = segments;
        self.pinned.clear();
        result
    }
}
