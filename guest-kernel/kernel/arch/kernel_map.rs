//! The kernel half of every address space, built once at boot: the image with a set of rights a section, the direct
//! map (RAM and device windows, never executable). The user half is left empty.

use abi::addr::{Gpa, Gva, PAGE_SIZE};
use abi::boot::{BootInfo, RamRange};
use abi::layout::{BOOT_INFO, LOW_RAM_END, ROOTS};

use super::direct::{self, DIRECT_MAP, KERNEL_BASE};

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
const UNCACHED: u64 = 1 << 4;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const ADDRESS: u64 = 0x000f_ffff_ffff_f000;
const MIB_2: u64 = 2 << 20;
const GIB: u64 = 1 << 30;
const DATA: u64 = PRESENT | WRITABLE | GLOBAL | NO_EXECUTE;

unsafe extern "C" {
    static __text_start: u8;
    static __rodata_start: u8;
    static __data_start: u8;
    static __kernel_end: u8;
}

/// Where the image ends in RAM; what follows is free.
#[must_use]
pub fn image_end() -> Gpa {
    Gpa(&raw const __kernel_end as u64 - KERNEL_BASE)
}

/// Takes fresh frames, one after the other.
pub struct Fresh(pub Gpa);

impl Fresh {
    fn table(&mut self) -> Gpa {
        let table = self.0;
        self.0 = table + PAGE_SIZE as u64;
        table
    }
}

/// Builds the tables and returns their root.
pub fn build(info: &BootInfo, ram: &[RamRange], gib_pages: bool, fresh: &mut Fresh) -> Gpa {
    let root = fresh.table();
    let mut map = Map { root, fresh };
    map.image();
    map.low_ram();
    for range in ram {
        map.ram(*range, gib_pages);
    }
    for window in info.devices[..info.device_count as usize].iter().map(|device| device.base) {
        map.window(window);
    }
    map.window(Gpa(0xfec0_0000));
    map.window(Gpa(0xfee0_0000));
    root
}

struct Map<'f> {
    root: Gpa,
    fresh: &'f mut Fresh,
}

impl Map<'_> {
    fn image(&mut self) {
        let text = &raw const __text_start as u64;
        let rodata = &raw const __rodata_start as u64;
        let data = &raw const __data_start as u64;
        let end = &raw const __kernel_end as u64;
        let parts = [(text, rodata, 0), (rodata, data, NO_EXECUTE), (data, end, WRITABLE | NO_EXECUTE)];
        for (start, end, rights) in parts {
            for page in (start..end).step_by(PAGE_SIZE) {
                self.set(Gva(page), 0, (page - KERNEL_BASE) | PRESENT | GLOBAL | rights);
            }
        }
    }

    /// Below 2 MiB: the boot information, the counters and what follows the image; not the image itself, so that its
    /// text cannot be written through the direct map either.
    fn low_ram(&mut self) {
        let boot = BOOT_INFO.0..ROOTS.0 + PAGE_SIZE as u64;
        let rest = image_end().0..MIB_2.max(image_end().0.next_multiple_of(MIB_2));
        for page in boot.step_by(PAGE_SIZE).chain(rest.step_by(PAGE_SIZE)) {
            self.set(Gva(DIRECT_MAP + page), 0, page | DATA);
        }
    }

    /// The range from the first 2 MiB boundary past the image.
    fn ram(&mut self, range: RamRange, gib_pages: bool) {
        let end = range.start.0 + range.bytes;
        let mut at = range.start.0.max(image_end().0.next_multiple_of(MIB_2));
        while at < end {
            let gva = Gva(DIRECT_MAP + at);
            if gib_pages && at.is_multiple_of(GIB) && end - at >= GIB {
                self.set(gva, 2, at | DATA | LARGE);
                at += GIB;
            } else {
                self.set(gva, 1, at | DATA | LARGE);
                at += MIB_2;
            }
        }
    }

    fn window(&mut self, gpa: Gpa) {
        debug_assert!(gpa.0 >= LOW_RAM_END.0);
        let start = gpa.0 & !(MIB_2 - 1);
        self.set(Gva(DIRECT_MAP + start), 1, start | DATA | LARGE | UNCACHED);
    }

    /// Writes the entry for an address in the table of `level` (0 for 4 KiB leaves), with the tables above it.
    fn set(&mut self, gva: Gva, level: u32, entry: u64) {
        let mut table = self.root;
        for above in (level + 1..4).rev() {
            let slot = slot(table, gva, above);
            // SAFETY: an entry of a table of this map, reached through the boot tables' direct map.
            let present = unsafe { *slot };
            table = if present == 0 {
                let next = self.fresh.table();
                // SAFETY: as above. The new table is fresh RAM and so all zeros.
                unsafe { *slot = next.0 | PRESENT | WRITABLE };
                next
            } else {
                Gpa(present & ADDRESS)
            };
        }
        // SAFETY: as above.
        unsafe { *slot(table, gva, level) = entry };
    }
}

fn slot(table: Gpa, gva: Gva, level: u32) -> *mut u64 {
    direct::pointer(table + (gva.0 >> (12 + 9 * level) & 511) * 8)
}
