//! Error numbers (errno(3)).

use crate::fs::open::BadDescriptor;
use crate::vm::fault::Invalid;

/// An error number of Linux.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Errno(pub u16);

#[allow(missing_docs)]
impl Errno {
    pub const PERM: Self = Self(1);
    pub const NOENT: Self = Self(2);
    pub const SRCH: Self = Self(3);
    pub const INTR: Self = Self(4);
    pub const IO: Self = Self(5);
    pub const TOOBIG: Self = Self(7);
    pub const NOEXEC: Self = Self(8);
    pub const BADF: Self = Self(9);
    pub const CHILD: Self = Self(10);
    pub const AGAIN: Self = Self(11);
    pub const NOMEM: Self = Self(12);
    pub const ACCES: Self = Self(13);
    pub const FAULT: Self = Self(14);
    pub const BUSY: Self = Self(16);
    pub const EXIST: Self = Self(17);
    pub const XDEV: Self = Self(18);
    pub const NODEV: Self = Self(19);
    pub const NOTDIR: Self = Self(20);
    pub const ISDIR: Self = Self(21);
    pub const INVAL: Self = Self(22);
    pub const MFILE: Self = Self(24);
    pub const NOTTY: Self = Self(25);
    pub const FBIG: Self = Self(27);
    pub const NOSPC: Self = Self(28);
    pub const SPIPE: Self = Self(29);
    pub const ROFS: Self = Self(30);
    pub const PIPE: Self = Self(32);
    pub const RANGE: Self = Self(34);
    pub const NAMETOOLONG: Self = Self(36);
    pub const NOLCK: Self = Self(37);
    pub const NOSYS: Self = Self(38);
    pub const NOTEMPTY: Self = Self(39);
    pub const OVERFLOW: Self = Self(75);
    pub const OPNOTSUPP: Self = Self(95);
    pub const AFNOSUPPORT: Self = Self(97);
    pub const TIMEDOUT: Self = Self(110);

    /// What a system call returns for it.
    #[must_use]
    pub const fn result(self) -> u64 {
        (self.0 as u64).wrapping_neg()
    }
}

impl From<Invalid> for Errno {
    fn from(invalid: Invalid) -> Self {
        match invalid {
            Invalid::NoArea | Invalid::NoRight | Invalid::PastEnd => Self::FAULT,
            Invalid::Device => Self::IO,
            Invalid::OutOfMemory | Invalid::NoHugePage => Self::NOMEM,
        }
    }
}

impl From<BadDescriptor> for Errno {
    fn from(_: BadDescriptor) -> Self {
        Self::BADF
    }
}
