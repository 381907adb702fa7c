//! Sizes as a user writes them: `64M`, `1G`.

use std::fmt;
use std::str::FromStr;

use abi::addr::PAGE_SIZE;
use thiserror::Error;

/// A number of bytes: at least one page and a whole number of pages.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Size(u64);

/// Why a size was refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum SizeError {
    /// Not a number with an optional unit.
    #[error("{0:?} is not a size: write a whole number with K, M, G or T, such as 64M")]
    Syntax(String),
    /// Zero bytes.
    #[error("a size of zero has no use: give at least 4K")]
    Zero,
    /// Part of a page.
    #[error("{0} bytes are not a whole number of pages: give a multiple of 4K")]
    NotPages(u64),
    /// More than 64 bits hold.
    #[error("{0:?} is larger than any address space")]
    TooLarge(String),
}

impl Size {
    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number of 4 KiB pages.
    #[must_use]
    pub const fn pages(self) -> u64 {
        self.0 / PAGE_SIZE as u64
    }

    /// `bytes` as a size.
    ///
    /// # Errors
    /// Zero, or not a whole number of pages.
    pub const fn from_bytes(bytes: u64) -> Result<Self, SizeError> {
        if bytes == 0 {
            return Err(SizeError::Zero);
        }
        if !bytes.is_multiple_of(PAGE_SIZE as u64) {
            return Err(SizeError::NotPages(bytes));
        }
        Ok(Self(bytes))
    }

    /// `pages` pages; 0 is taken as 1.
    #[must_use]
    pub const fn from_pages(pages: u32) -> Self {
        Self((if pages == 0 { 1 } else { pages as u64 }) * PAGE_SIZE as u64)
    }

    /// `mib` MiB; 0 is taken as 1.
    #[must_use]
    pub const fn mib(mib: u64) -> Self {
        Self((if mib == 0 { 1 } else { mib }) << 20)
    }
}

impl FromStr for Size {
    type Err = SizeError;

    fn from_str(text: &str) -> Result<Self, SizeError> {
        let upper = text.trim().to_ascii_uppercase();
        let number = upper.trim_end_matches("IB").trim_end_matches('B');
        let (digits, shift) = match number.as_bytes().last() {
            Some(b'K') => (&number[..number.len() - 1], 10),
            Some(b'M') => (&number[..number.len() - 1], 20),
            Some(b'G') => (&number[..number.len() - 1], 30),
            Some(b'T') => (&number[..number.len() - 1], 40),
            _ => (number, 0),
        };
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SizeError::Syntax(text.to_owned()));
        }
        let count: u64 = digits.parse().map_err(|_| SizeError::TooLarge(text.to_owned()))?;
        let bytes = count.checked_mul(1 << shift).ok_or_else(|| SizeError::TooLarge(text.to_owned()))?;
        Self::from_bytes(bytes)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB")];
        let (scale, unit) = units.into_iter().find(|(scale, _)| self.0 >= *scale).unwrap_or((1 << 10, "KiB"));
        if self.0.is_multiple_of(scale) {
            return write!(f, "{} {unit}", self.0 / scale);
        }
        write!(f, "{:.1} {unit}", self.0 as f64 / scale as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_powers_of_1024() {
        for (text, bytes) in
            [("4096", 4096), ("4K", 4096), ("64M", 64 << 20), ("64MiB", 64 << 20), ("1g", 1 << 30)]
        {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_its_reason() {
        assert_eq!("0".parse::<Size>(), Err(SizeError::Zero));
        assert_eq!("5000".parse::<Size>(), Err(SizeError::NotPages(5000)));
        for text in ["", "M", "-4K", "4.5M", "4 K", "x"] {
            assert!(matches!(text.parse::<Size>(), Err(SizeError::Syntax(_))), "{text}");
        }
        for text in ["99999999999999999999", "99999999999T"] {
            assert!(matches!(text.parse::<Size>(), Err(SizeError::TooLarge(_))), "{text}");
        }
    }

    #[test]
    fn sizes_print_in_the_largest_unit_that_fits() {
        assert_eq!(Size(12 << 20).to_string(), "12 MiB");
        assert_eq!(Size(4096).to_string(), "4 KiB");
        assert_eq!(Size(3 << 30).to_string(), "3 GiB");
        assert_eq!(Size((3 << 30) + (1 << 29)).to_string(), "3.5 GiB");
    }
}
