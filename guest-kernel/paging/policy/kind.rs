//! The policies by name.

use core::fmt;
use core::str::FromStr;

/// The name of a policy, as a user chooses it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PolicyKind {
    /// [`super::Fifo`].
    Fifo,
    /// [`super::Clock`].
    Clock,
    /// [`super::Aging`].
    Aging,
    /// [`super::Sieve`].
    Sieve,
    /// [`super::S3Fifo`].
    S3Fifo,
    /// [`super::WsClock`].
    WsClock,
}

/// A text that names no policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UnknownPolicy;

impl PolicyKind {
    /// Every policy.
    pub const ALL: [Self; 6] =
        [Self::Fifo, Self::Clock, Self::Aging, Self::Sieve, Self::S3Fifo, Self::WsClock];
    /// The name of each of [`PolicyKind::ALL`].
    pub const NAMES: [&str; 6] = {
        let mut names = [""; 6];
        let mut index = 0;
        while index < names.len() {
            names[index] = Self::ALL[index].name();
            index += 1;
        }
        names
    };

    /// What a user calls it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Clock => "clock",
            Self::Aging => "aging",
            Self::Sieve => "sieve",
            Self::S3Fifo => "s3fifo",
            Self::WsClock => "wsclock",
        }
    }

    /// Whether it asks which pages were used at all.
    #[must_use]
    pub const fn asks_for_references(self) -> bool {
        !matches!(self, Self::Fifo)
    }

    /// Whether the access that brings a page in counts as a use of it. The older policies were defined so: a page
    /// comes in with its bit set. SIEVE and S3-FIFO mean a use after that; an owner whose CPU sets the bit by the
    /// access itself then asks about the page once, say at the next fault, and forgets the answer.
    #[must_use]
    pub const fn counts_arrival(self) -> bool {
        !matches!(self, Self::Sieve | Self::S3Fifo)
    }
}

impl FromStr for PolicyKind {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, UnknownPolicy> {
        Self::ALL.into_iter().find(|kind| kind.name() == name).ok_or(UnknownPolicy)
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for UnknownPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no such replacement policy: choose one of")?;
        for (index, name) in PolicyKind::NAMES.iter().enumerate() {
            write!(f, "{}{name}", if index == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownPolicy {}
