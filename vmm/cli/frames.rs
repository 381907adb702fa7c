//! `--frames`: numbers and ranges, such as `3`, `1-8` or `16,32,64-70`.

use std::str::FromStr;

use thiserror::Error;

/// More numbers than this make no table that anyone reads.
const MOST: usize = 1000;

/// Numbers of frames to replay with, each at least 1.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frames(pub Vec<u32>);

/// Why a text names no numbers of frames.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum FramesError {
    /// Not a number or a range, or with a 0.
    #[error("write a number of frames from 1 to {}, a range N-M, or several with commas", u32::MAX)]
    Malformed,
    /// More than [`MOST`].
    #[error("more than {MOST} numbers of frames: give fewer, or several runs")]
    TooMany,
}

impl Frames {
    /// Eighths of `pages`, which is at least 1: from where most of it does not fit to where all does.
    pub fn eighths_of(pages: u32) -> Self {
        let mut numbers: Vec<u32> = (1..=8_u64).map(|n| (u64::from(pages) * n).div_ceil(8) as u32).collect();
        numbers.dedup();
        Self(numbers)
    }
}

impl FromStr for Frames {
    type Err = FramesError;

    fn from_str(text: &str) -> Result<Self, FramesError> {
        let mut numbers = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (number(first)?, number(last)?);
            if last < first {
                return Err(FramesError::Malformed);
            }
            if numbers.len() + (last - first) as usize >= MOST {
                return Err(FramesError::TooMany);
            }
            numbers.extend(first..=last);
        }
        Ok(Self(numbers))
    }
}

fn number(text: &str) -> Result<u32, FramesError> {
    text.trim().parse().ok().filter(|&number| number > 0).ok_or(FramesError::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_taken_in_their_order() {
        assert_eq!("3".parse(), Ok(Frames(vec![3])));
        assert_eq!("4-6,2".parse(), Ok(Frames(vec![4, 5, 6, 2])));
        for text in ["", "0", "x", "3-", "5-4", "1,,2", "4294967296", "-3"] {
            assert_eq!(text.parse::<Frames>(), Err(FramesError::Malformed), "{text}");
        }
        assert_eq!("1-1000".parse::<Frames>().map(|frames| frames.0.len()), Ok(MOST));
        assert_eq!("1-1000,1".parse::<Frames>(), Err(FramesError::TooMany));
        assert_eq!("1-4294967295".parse::<Frames>(), Err(FramesError::TooMany));
    }

    #[test]
    fn eighths_reach_up_to_all_pages() {
        assert_eq!(Frames::eighths_of(5), Frames(vec![1, 2, 3, 4, 5]));
        assert_eq!(Frames::eighths_of(800).0, [100, 200, 300, 400, 500, 600, 700, 800]);
        assert_eq!(Frames::eighths_of(1), Frames(vec![1]));
    }
}
