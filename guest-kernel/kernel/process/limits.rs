//! What a process may have at most.

/// No limit.
pub const UNLIMITED: u64 = u64::MAX;

/// Limits that a program can set, in bytes. Its children inherit them, and what it runs next.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How much of its anonymous memory may be in RAM (RLIMIT_RSS): with more, it pages among its own.
    pub resident: u64,
    /// How much it may map (RLIMIT_AS).
    pub address_space: u64,
}

impl Limits {
    /// None.
    pub const NONE: Self = Self { resident: UNLIMITED, address_space: UNLIMITED };
}
