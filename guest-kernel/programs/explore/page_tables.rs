//! `page-tables`: what touching a few pages costs in page tables, by how far they lie from each other.

use std::{io, ptr};

use programs::{PAGE, fail};

use super::proc::tables;
use super::record::record;

/// Where nothing is: 16 TiB, a multiple of what each level's tables span.
const START: usize = 1 << 44;
/// How many pages are touched.
const COUNT: usize = 8;

pub fn run() {
    for (name, apart) in [("4 KiB", PAGE), ("2 MiB", 2 << 20), ("1 GiB", 1 << 30), ("1 TiB", 1 << 40)] {
        let bytes = COUNT * apart;
        let before = tables();
        map(bytes);
        for address in (START..START + bytes).step_by(apart) {
            // SAFETY: it is in the mapping, which nothing else uses.
            unsafe { ptr::with_exposed_provenance_mut::<u8>(address).write_volatile(1) };
        }
        let used = tables() - before;
        // SAFETY: the whole mapping, of which nothing keeps a reference.
        unsafe { libc::munmap(ptr::with_exposed_provenance_mut(START), bytes) };
        let left = tables() - before;
        record!(
            "touched",
            apart = name,
            pages = COUNT,
            span = bytes,
            least = least(apart),
            used = used,
            left = left
        );
    }
}

/// The fewest tables below the root that can translate the addresses: one for each region of 2 MiB, 1 GiB and
/// 512 GiB that has any.
fn least(apart: usize) -> usize {
    let regions = |shift: u32| {
        let mut numbers: Vec<usize> = (0..COUNT).map(|n| (START + n * apart) >> shift).collect();
        numbers.dedup();
        numbers.len()
    };
    [21, 30, 39].map(regions).iter().sum()
}

fn map(bytes: usize) {
    let (start, rights) = (ptr::with_exposed_provenance_mut(START), libc::PROT_READ | libc::PROT_WRITE);
    let kind = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: it fails rather than to change a mapping that exists.
    if unsafe { libc::mmap(start, bytes, rights, kind, -1, 0) } == libc::MAP_FAILED {
        fail(format!("cannot map {bytes} bytes: {}", io::Error::last_os_error()));
    }
}
