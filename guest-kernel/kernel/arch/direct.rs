//! The direct map: all of RAM (except the kernel's own image) and the device windows, at a fixed distance
//! from their guest-physical addresses. It is never executable.

use abi::addr::Gpa;

/// Where guest-physical address 0 is mapped.
pub const DIRECT_MAP: u64 = 0xffff_8000_0000_0000;
/// The kernel image is linked at this address plus its guest-physical address.
pub const KERNEL_BASE: u64 = 0xffff_ffff_8000_0000;

/// Where a guest-physical address is mapped.
#[cfg(not(test))]
#[must_use]
#[inline]
pub const fn pointer<T>(gpa: Gpa) -> *mut T {
    (DIRECT_MAP + gpa.0) as *mut T
}

/// The guest-physical address of something in the direct map: the heap, device windows, frames.
#[must_use]
pub fn gpa_of<T>(pointer: *const T) -> Gpa {
    Gpa((pointer as u64).wrapping_sub(DIRECT_MAP))
}

/// On the host a test's RAM is a buffer of the testing thread.
#[cfg(test)]
pub use host::{TEST_RAM, pointer};

#[cfg(test)]
mod host {
    use abi::addr::Gpa;

    /// How much RAM a test has.
    pub const TEST_RAM: usize = 16 << 20;

    thread_local! {
        static RAM: *mut u8 = {
            let layout = std::alloc::Layout::from_size_align(TEST_RAM, 4096).unwrap();
            // SAFETY: the layout is not empty. The buffer lives as long as the test's process.
            unsafe { std::alloc::alloc_zeroed(layout) }
        };
    }

    /// Where a guest-physical address is in the test.
    pub fn pointer<T>(gpa: Gpa) -> *mut T {
        assert!((gpa.0 as usize) < TEST_RAM, "{gpa} is not RAM");
        RAM.with(|ram| ram.wrapping_add(gpa.0 as usize).cast())
    }
}
