//! Pages out of RAM: reference-counted slots.

/// A page's bytes, aligned so that the file behind a store can be read and written directly.
#[derive(Clone)]
#[repr(C, align(4096))]
pub struct PageBytes(pub [u8; abi::addr::PAGE_SIZE]);

impl PageBytes {
    /// A page of zeros.
    #[must_use]
    pub const fn zeroed() -> Self {
        Self([0; abi::addr::PAGE_SIZE])
    }
}
