//! The host's RAM: how much, in which pages, and where it is paged to.

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::memory::{Size, THP};

/// The pools of huge pages, one a size that kernel and CPU have.
const POOLS: &str = "/sys/kernel/mm/hugepages";

/// RAM, huge pages and swap. Sizes are in bytes.
#[derive(Debug, Serialize)]
pub struct Memory {
    /// All RAM.
    pub total: u64,
    /// What programs could have without swapping.
    pub available: u64,
    /// When the kernel makes transparent huge pages: `always`, `madvise` or `never`; `null`: it has none.
    pub transparent_huge_pages: Option<String>,
    /// The pools of huge pages, the smaller pages first.
    pub pools: Vec<HugePool>,
    /// Where the host's kernel swaps to.
    pub swap: Vec<SwapArea>,
}

/// A pool of huge pages.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct HugePool {
    /// Size of its pages.
    pub page: u64,
    /// How many pages it has.
    pub pages: u64,
    /// How many of them are free and promised to nobody.
    pub free: u64,
}

/// A swap file or partition.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct SwapArea {
    /// Where.
    pub path: String,
    /// How much it holds.
    pub size: u64,
    /// How much of that is in use.
    pub used: u64,
}

impl Memory {
    pub(super) fn of_this_host() -> Self {
        let meminfo = read(Path::new("/proc/meminfo"));
        let field = |name: &str| {
            let value = meminfo.lines().find_map(|line| line.strip_prefix(name))?;
            value.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        Self {
            total: field("MemTotal:").unwrap_or(0) << 10,
            available: field("MemAvailable:").unwrap_or(0) << 10,
            transparent_huge_pages: chosen(&read(Path::new(THP))),
            pools: pools(Path::new(POOLS)),
            swap: swap_areas(&read(Path::new("/proc/swaps"))),
        }
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

/// The word in brackets, which is how sysfs shows a choice: `always [madvise] never`.
fn chosen(choices: &str) -> Option<String> {
    let (_, rest) = choices.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}

fn pools(folder: &Path) -> Vec<HugePool> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut pools: Vec<HugePool> = entries
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kib: u64 = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse().ok()?;
            let number = |file| read(&entry.path().join(file)).trim().parse::<u64>().unwrap_or(0);
            let free = number("free_hugepages").saturating_sub(number("resv_hugepages"));
            Some(HugePool { page: kib << 10, pages: number("nr_hugepages"), free })
        })
        .collect();
    pools.sort_by_key(|pool| pool.page);
    pools
}

/// Reads proc_swaps(5); a space in a path is `\040` there.
fn swap_areas(swaps: &str) -> Vec<SwapArea> {
    let area = |line: &str| {
        let mut fields = line.split_whitespace();
        let path = fields.next()?.replace("\\040", " ");
        let mut kib = fields.skip(1).map(|field| field.parse::<u64>().ok());
        Some(SwapArea { path, size: kib.next()?? << 10, used: kib.next()?? << 10 })
    };
    swaps.lines().skip(1).filter_map(area).collect()
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "memory        {}, {} available", size(self.total), size(self.available))?;
        let transparent = self.transparent_huge_pages.as_deref().unwrap_or("this kernel has none");
        writeln!(f, "THP           {transparent}")?;
        for HugePool { page, pages, free } in &self.pools {
            writeln!(f, "pool          {pages} huge pages of {}, {free} free", size(*page))?;
        }
        for SwapArea { path, size: bytes, used } in &self.swap {
            writeln!(f, "swap          {path}: {}, {} used", size(*bytes), size(*used))?;
        }
        if self.swap.is_empty() {
            writeln!(f, "swap          none (Bifold's own paging needs none)")?;
        }
        Ok(())
    }
}

fn size(bytes: u64) -> String {
    Size::from_bytes(bytes & !4095).map_or_else(|_| "0".to_owned(), |size| size.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_is_the_word_in_brackets() {
        assert_eq!(chosen("always [madvise] never\n").as_deref(), Some("madvise"));
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn pools_are_read_smaller_pages_first() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, pages, free, reserved) in
            [("hugepages-1048576kB", 1, 1, 0), ("hugepages-2048kB", 64, 32, 30)]
        {
            let pool = folder.path().join(name);
            fs::create_dir(&pool).expect("a folder");
            for (file, number) in
                [("nr_hugepages", pages), ("free_hugepages", free), ("resv_hugepages", reserved)]
            {
                fs::write(pool.join(file), format!("{number}\n")).expect("a file");
            }
        }
        let small = HugePool { page: 2 << 20, pages: 64, free: 2 };
        assert_eq!(pools(folder.path()), [small, HugePool { page: 1 << 30, pages: 1, free: 1 }]);
    }

    #[test]
    fn swap_areas_are_read_with_their_names() {
        let text = "Filename Type Size Used Priority\n/swap\\040file file 1024 8 -2\n";
        let area = SwapArea { path: "/swap file".to_owned(), size: 1 << 20, used: 8 << 10 };
        assert_eq!(swap_areas(text), [area]);
        assert_eq!(swap_areas(""), []);
    }
}
