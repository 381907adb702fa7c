//! What the programs share: arguments, pseudo-random numbers, pages whose content can be checked.
//!
//! Nothing here knows of Bifold. Each program is an ordinary static Linux program.

pub mod os;

use std::fmt::Display;
use std::io;
use std::process;
use std::ptr;
use std::slice;

/// Bytes in a page.
pub const PAGE: usize = 4096;
/// A page as words.
pub type Page = [u64; PAGE / 8];

/// Ends the program with status 2 and one line on standard error.
pub fn fail(message: impl Display) -> ! {
    eprintln!("{message}");
    process::exit(2)
}

/// Maps `count` pages of zeros, for as long as the program runs. No frame is used before a page is touched.
#[must_use]
pub fn map_pages(count: usize) -> &'static mut [Page] {
    if count == 0 {
        return &mut [];
    }
    let (rights, kind) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address that the kernel chooses changes nothing that exists.
    let start = unsafe { libc::mmap(ptr::null_mut(), count.saturating_mul(PAGE), rights, kind, -1, 0) };
    if start == libc::MAP_FAILED {
        fail(format!("cannot map {count} pages: {}", io::Error::last_os_error()));
    }
    // SAFETY: the mapping is as long as the slice, aligned, zero (a valid page), never unmapped, and nothing else
    // knows of it.
    unsafe { slice::from_raw_parts_mut(start.cast(), count) }
}

/// Bytes in a size such as `40M`: digits and K, M or G (powers of 1024), or nothing for bytes.
#[must_use]
pub fn parse_size(text: &str) -> Option<usize> {
    let (digits, unit) = match text.as_bytes().last()? {
        b'K' => (&text[..text.len() - 1], 1 << 10),
        b'M' => (&text[..text.len() - 1], 1 << 20),
        b'G' => (&text[..text.len() - 1], 1 << 30),
        _ => (text, 1),
    };
    digits.parse::<usize>().ok()?.checked_mul(unit)
}

/// Spreads a number's bits over the whole word (the finaliser of SplitMix64, Steele et al. 2014).
#[must_use]
pub const fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// SplitMix64: pseudo-random numbers from a seed, the same everywhere.
#[derive(Debug)]
pub struct Random(u64);

impl Random {
    /// A sequence of its own for each seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// A number below `end`.
    pub const fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number from 0 up to 1, not including it.
    pub const fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// Fills a page with content that only this page has in this version.
pub fn fill(page: &mut Page, number: usize, version: u32) {
    let mut words = words(number, version);
    for word in page {
        *word = words.next();
    }
}

/// Whether [`fill`] made this page's content.
#[must_use]
pub fn holds(page: &Page, number: usize, version: u32) -> bool {
    let mut words = words(number, version);
    page.iter().all(|word| *word == words.next())
}

/// The words of a page's version, from its first on.
#[must_use]
pub const fn words(number: usize, version: u32) -> Random {
    Random::new(mix(number as u64) ^ ((version as u64) << 32))
}
