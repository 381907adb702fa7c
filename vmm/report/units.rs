//! Numbers as a person reads them.

use std::fmt;

use abi::addr::PAGE_SIZE;

/// A count with its thousands apart: `1 234 567`.
pub struct Count(pub u64);

/// A duration in nanoseconds, three digits: `850 ns`, `12.3 us`, `4.56 s`.
pub struct Nanos(pub u64);

/// A number of 4 KiB pages with its size: `3 072 (12.0 MiB)`.
pub struct Pages(pub u64);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        let first = digits.len() % 3;
        f.write_str(&digits[..first])?;
        for (index, group) in digits.as_bytes()[first..].chunks(3).enumerate() {
            let gap = if index == 0 && first == 0 { "" } else { " " };
            write!(f, "{gap}{}", String::from_utf8_lossy(group))?;
        }
        Ok(())
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1_000, "us")];
        let Some((scale, unit)) = units.into_iter().find(|(scale, _)| self.0 >= *scale) else {
            return write!(f, "{} ns", self.0);
        };
        let value = self.0 as f64 / scale as f64;
        let decimals = if value < 10.0 { 2 } else { usize::from(value < 100.0) };
        write!(f, "{value:.decimals$} {unit}")
    }
}

impl fmt::Display for Pages {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = (self.0 * PAGE_SIZE as u64) as f64 / f64::from(1 << 20);
        write!(f, "{} ({mib:.1} MiB)", Count(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well() {
        for (count, text) in
            [(0, "0"), (12, "12"), (123, "123"), (1234, "1 234"), (123_456_789, "123 456 789")]
        {
            assert_eq!(Count(count).to_string(), text);
        }
        for (nanos, text) in
            [(850, "850 ns"), (12_345, "12.3 us"), (4_560_000_000, "4.56 s"), (123_000_000, "123 ms")]
        {
            assert_eq!(Nanos(nanos).to_string(), text);
        }
        assert_eq!(Pages(3072).to_string(), "3 072 (12.0 MiB)");
    }
}
