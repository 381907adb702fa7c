//! What /proc tells a program of its own memory (proc(5)).

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;

use programs::{PAGE, Page, fail};

/// A line of /proc/self/maps.
pub struct Area {
    pub start: usize,
    pub end: usize,
    /// `rw-p` and the like.
    pub rights: String,
    /// The file, `[heap]`, `[stack]`, or nothing.
    pub name: String,
}

impl Area {
    pub const fn pages(&self) -> usize {
        (self.end - self.start) / PAGE
    }
}

/// The process's areas, by address.
pub fn areas() -> Vec<Area> {
    lines("/proc/self/maps").filter_map(|line| area(&line)).collect()
}

fn area(line: &str) -> Option<Area> {
    let mut words = line.split_whitespace();
    let (start, end) = words.next()?.split_once('-')?;
    let address = |text| usize::from_str_radix(text, 16).ok();
    let rights = words.next()?.to_owned();
    // Offset, device, inode.
    let name = words.nth(3).unwrap_or_default().to_owned();
    Some(Area { start: address(start)?, end: address(end)?, rights, name })
}

/// What is known of a page: a word of /proc/self/pagemap.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct Entry(u64);

impl Entry {
    pub const fn is_present(self) -> bool {
        self.0 >> 63 != 0
    }

    pub const fn is_swapped(self) -> bool {
        self.0 >> 62 & 1 != 0
    }

    /// Whether it is a page of a file, or of shared memory.
    pub const fn is_of_file(self) -> bool {
        self.0 >> 61 & 1 != 0
    }

    /// The number of its frame.
    pub const fn frame(self) -> Option<u64> {
        if self.is_present() { Some(self.0 & ((1 << 55) - 1)) } else { None }
    }
}

/// /proc/self/pagemap, open. Asking it needs no memory but the caller's stack.
pub struct PageMap(File);

impl PageMap {
    pub fn open() -> Self {
        Self(File::open("/proc/self/pagemap").unwrap_or_else(|error| fail(format!("pagemap: {error}"))))
    }

    /// Calls `see` with the address and the entry of each page of a range.
    pub fn for_each(&self, start: usize, pages: usize, mut see: impl FnMut(usize, Entry)) {
        let mut words = [0u8; 8 * 64];
        for first in (0..pages).step_by(64) {
            let count = (pages - first).min(64);
            let at = start + first * PAGE;
            // It ends where the addresses of programs do.
            let got = self.0.read_at(&mut words[..8 * count], (at / PAGE * 8) as u64);
            let got = got.unwrap_or_else(|error| fail(format!("pagemap: {error}")));
            let (entries, _) = words[..got].as_chunks();
            for (n, &word) in entries.iter().enumerate() {
                see(at + n * PAGE, Entry(u64::from_le_bytes(word)));
            }
        }
    }

    /// The entry of the page at an address.
    pub fn at(&self, address: usize) -> Entry {
        let mut found = Entry::default();
        self.for_each(address, 1, |_, entry| found = entry);
        found
    }
}

/// How many of a mapping's pages have a frame.
pub fn resident(pages: &[Page]) -> u64 {
    let mut count = 0;
    let map = PageMap::open();
    map.for_each(pages.as_ptr().addr(), pages.len(), |_, entry| count += u64::from(entry.is_present()));
    count
}

/// Pages of all page tables that there are.
pub fn tables() -> i64 {
    value("/proc/meminfo", "PageTables:") / 4
}

/// A field of /proc/self/smaps, in KiB, for the area that an address is in.
pub fn smaps_kib(address: usize, field: &str) -> i64 {
    let path = "/proc/self/smaps";
    let mut is_here = false;
    for line in lines(path) {
        if let Some(area) = area(&line) {
            is_here = area.start <= address && address < area.end;
        } else if is_here && let Some(rest) = line.strip_prefix(field) {
            return first_number(path, rest);
        }
    }
    fail(format!("{path} has no {field} for {address:#x}"))
}

/// The number after a word that starts a line of a file, such as meminfo's.
pub fn value(path: &str, name: &str) -> i64 {
    find(path, name).unwrap_or_else(|| fail(format!("{path} has no {name}")))
}

/// The same, if a line starts with it.
pub fn find(path: &str, name: &str) -> Option<i64> {
    let line = lines(path).find(|line| line.starts_with(name))?;
    Some(first_number(path, &line[name.len()..]))
}

fn first_number(path: &str, text: &str) -> i64 {
    let number = text.split_whitespace().next().and_then(|number| number.parse().ok());
    number.unwrap_or_else(|| fail(format!("{path}: there is no number in {text}")))
}

/// The lines of a file, which is read no further than they are wanted: a kernel makes these texts anew for
/// each read.
fn lines(path: &str) -> impl Iterator<Item = String> {
    let file = File::open(path).unwrap_or_else(|error| fail(format!("{path}: {error}")));
    BufReader::new(file).lines().map_while(Result::ok)
}
