//! Addresses. A guest-virtual, a guest-physical and a host-virtual address are different types,
//! so that none is ever used in another's place.

/// Size of a small page, in bytes.
pub const PAGE_SIZE: usize = 4096;
/// log2 of [`PAGE_SIZE`].
pub const PAGE_SHIFT: u32 = 12;

macro_rules! address {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[repr(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The start of the page that holds this address.
            #[must_use]
            pub const fn page_start(self) -> Self {
                Self(self.0 & !(PAGE_SIZE as u64 - 1))
            }

            /// The offset within its page, 0 to 4095.
            #[must_use]
            pub const fn page_offset(self) -> usize {
                (self.0 & (PAGE_SIZE as u64 - 1)) as usize
            }

            /// Whether the address is the start of a page.
            #[must_use]
            pub const fn is_page_aligned(self) -> bool {
                self.page_offset() == 0
            }

            /// The address `bytes` further on, or `None` past the end of the 64-bit range.
            #[must_use]
            pub const fn checked_add(self, bytes: u64) -> Option<Self> {
                match self.0.checked_add(bytes) {
                    Some(sum) => Some(Self(sum)),
                    None => None,
                }
            }
        }

        impl core::ops::Add<u64> for $name {
            type Output = Self;
            fn add(self, bytes: u64) -> Self {
                Self(self.0 + bytes)
            }
        }

        impl core::ops::Sub for $name {
            type Output = u64;
            fn sub(self, other: Self) -> u64 {
                self.0 - other.0
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl core::fmt::Display for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, "{:#x}", self.0)
            }
        }
    };
}

address! {
    /// A guest-virtual address: what a program or the guest kernel uses.
    Gva
}
address! {
    /// A guest-physical address: what the guest's page tables hold.
    Gpa
}
address! {
    /// A host-virtual address: where the VMM has a guest frame mapped.
    Hva
}

/// A guest frame number: guest-physical address / 4096.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(transparent)]
pub struct Gfn(pub u64);

impl Gfn {
    /// Where the frame starts.
    #[must_use]
    pub const fn start(self) -> Gpa {
        Gpa(self.0 << PAGE_SHIFT)
    }
}

impl Gpa {
    /// The frame that holds this address.
    #[must_use]
    pub const fn frame(self) -> Gfn {
        Gfn(self.0 >> PAGE_SHIFT)
    }
}

/// Bytes rounded up to whole pages.
#[must_use]
pub const fn pages_for(bytes: u64) -> u64 {
    bytes.div_ceil(PAGE_SIZE as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_splits_into_frame_and_offset() {
        let gpa = Gpa(0x1234_5678);
        assert_eq!(gpa.frame(), Gfn(0x12345));
        assert_eq!(gpa.frame().start(), gpa.page_start());
        assert_eq!(gpa.page_start() + gpa.page_offset() as u64, gpa);
    }

    #[test]
    fn pages_are_rounded_up() {
        assert_eq!([0, 1, 4096, 4097].map(pages_for), [0, 1, 1, 2]);
    }
}
