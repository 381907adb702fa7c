//! Guest RAM: anonymous private mappings, one for each range of guest-physical addresses.
//!
//! Other modules name a frame either by its guest frame number ([`Gfn`], with the hole below 4 GiB) or by its
//! index ([`FrameIndex`], dense from 0), which is what tables are indexed by. This module is the only place
//! that converts between them and host-virtual addresses.

mod backing;
mod mapping;
mod size;

use std::sync::Arc;

use abi::addr::{Gfn, Gpa, Hva, PAGE_SIZE};
use abi::boot::RamRange;
use abi::layout::{HIGH_RAM_START, LOW_RAM_END};
use thiserror::Error;
use vm_memory::mmap::MmapRegion;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryMmap, GuestRegionMmap};

pub use backing::{Backing, BackingError, THP};
pub use mapping::Mapping;
pub use size::{Size, SizeError};

/// A guest frame's dense index: 0 for the first frame of RAM, without the hole below 4 GiB.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FrameIndex(pub u32);

/// Why there is no guest RAM.
#[derive(Debug, Error)]
pub enum RamError {
    /// The host refused the mapping.
    #[error("cannot map {size} of guest RAM: {reason}; give a smaller --ram")]
    Map {
        /// What was asked for.
        size: Size,
        /// The host's answer.
        reason: String,
    },
}

/// One range of guest RAM and where it is mapped.
#[derive(Clone, Copy, Debug)]
pub struct Region {
    /// Where it is in the guest.
    pub range: RamRange,
    /// Where it is in this process.
    pub start: Hva,
    /// Index of its first frame.
    pub first: FrameIndex,
}

impl Region {
    fn frames(&self) -> u64 {
        self.range.bytes / PAGE_SIZE as u64
    }
}

/// Guest RAM. Cloning shares the mapping.
#[derive(Clone, Debug)]
pub struct GuestRam {
    size: Size,
    memory: GuestMemoryMmap,
    /// What `memory` refers to, where it does not own it.
    _mappings: Vec<Arc<Mapping>>,
    regions: Vec<Region>,
}

impl GuestRam {
    /// Reserves `size` bytes, backed as the host's kernel likes; no frame is used before it is touched.
    ///
    /// # Errors
    /// The host cannot map that much.
    pub fn new(size: Size) -> Result<Self, RamError> {
        Self::backed(size, None)
    }

    /// The same with a backing that was asked for, and checked ([`Backing::check`]).
    ///
    /// # Errors
    /// The host cannot map that much.
    pub fn backed(size: Size, backing: Option<Backing>) -> Result<Self, RamError> {
        let ranges = ranges(size);
        let (mut mappings, mut regions) = (Vec::new(), Vec::new());
        for range in &ranges {
            let (region, mapping) = map(range, backing).map_err(|reason| RamError::Map { size, reason })?;
            regions.push(region);
            mappings.extend(mapping.map(Arc::new));
        }
        let memory = GuestMemoryMmap::from_regions(regions)
            .map_err(|error| RamError::Map { size, reason: error.to_string() })?;
        let mut first = 0;
        let mut regions = Vec::with_capacity(ranges.len());
        for (range, region) in ranges.into_iter().zip(memory.iter()) {
            let start = Hva(region.as_ptr() as u64);
            regions.push(Region { range, start, first: FrameIndex(first) });
            first += (range.bytes / PAGE_SIZE as u64) as u32;
        }
        Ok(Self { size, memory, _mappings: mappings, regions })
    }

    /// How much there is.
    #[must_use]
    pub const fn size(&self) -> Size {
        self.size
    }

    /// The memory as rust-vmm's crates want it.
    #[must_use]
    pub const fn memory(&self) -> &GuestMemoryMmap {
        &self.memory
    }

    /// The ranges, ascending.
    #[must_use]
    pub fn regions(&self) -> &[Region] {
        &self.regions
    }

    /// Number of frames.
    #[must_use]
    pub const fn frames(&self) -> u32 {
        self.size.pages() as u32
    }

    /// The frame at a host-virtual address, if it is guest RAM.
    #[must_use]
    pub fn index_of_hva(&self, hva: Hva) -> Option<FrameIndex> {
        self.regions.iter().find_map(|region| {
            let page = hva.0.checked_sub(region.start.0)? / PAGE_SIZE as u64;
            (page < region.frames()).then(|| FrameIndex(region.first.0 + page as u32))
        })
    }

    /// The frame at a guest-physical address, if it is RAM.
    #[must_use]
    pub fn index_of(&self, gpa: Gpa) -> Option<FrameIndex> {
        self.regions.iter().find_map(|region| {
            let page = gpa.0.checked_sub(region.range.start.0)? / PAGE_SIZE as u64;
            (page < region.frames()).then(|| FrameIndex(region.first.0 + page as u32))
        })
    }

    /// Where a frame is mapped. `None` past the end of RAM.
    #[must_use]
    pub fn hva(&self, index: FrameIndex) -> Option<Hva> {
        let (region, bytes) = self.locate(index)?;
        Some(region.start + bytes)
    }

    /// A frame's number in the guest. `None` past the end of RAM.
    #[must_use]
    pub fn gfn(&self, index: FrameIndex) -> Option<Gfn> {
        let (region, bytes) = self.locate(index)?;
        Some((region.range.start + bytes).frame())
    }

    fn locate(&self, index: FrameIndex) -> Option<(&Region, u64)> {
        self.regions.iter().find_map(|region| {
            let page = u64::from(index.0.checked_sub(region.first.0)?);
            (page < region.frames()).then_some((region, page * PAGE_SIZE as u64))
        })
    }
}

/// Maps one range. Pages of the host's pool are aligned as they are; other memory is ours to align.
fn map(range: &RamRange, backing: Option<Backing>) -> Result<(GuestRegionMmap, Option<Mapping>), String> {
    let rights = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_ANONYMOUS | libc::MAP_PRIVATE;
    let bytes = range.bytes as usize;
    let (region, mapping) = match backing.and_then(Backing::pool_flags) {
        Some(pool) => {
            let region = MmapRegion::build(None, bytes, rights, flags | pool);
            (region.map_err(|error| error.to_string())?, None)
        }
        None => {
            let mapping = Mapping::new(bytes).map_err(|error| error.to_string())?;
            // SAFETY: the mapping has so many bytes and these rights, and the caller keeps it as long as the region.
            let region = unsafe {
                MmapRegion::build_raw(mapping.pointer(), bytes, rights, flags | libc::MAP_NORESERVE)
            };
            (region.map_err(|error| error.to_string())?, Some(mapping))
        }
    };
    if let Some(backing) = backing {
        backing.advise(&region).map_err(|error| error.to_string())?;
    }
    let region = GuestRegionMmap::new(region, GuestAddress(range.start.0));
    Ok((region.ok_or("address overflow")?, mapping))
}

/// Where `size` bytes of RAM are in the guest's physical address space.
#[must_use]
pub fn ranges(size: Size) -> Vec<RamRange> {
    let low = size.bytes().min(LOW_RAM_END.0);
    let mut ranges = vec![RamRange { start: Gpa(0), bytes: low }];
    if size.bytes() > low {
        ranges.push(RamRange { start: HIGH_RAM_START, bytes: size.bytes() - low });
    }
    ranges
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_frame_leads_back_to_it() {
        let ram = GuestRam::new(Size::mib(4096)).expect("4 GiB of address space");
        for index in [0, 1, 0xbffff, 0xc0000, 0xfffff].map(FrameIndex) {
            let gfn = ram.gfn(index).expect("a frame of RAM");
            let hva = ram.hva(index).expect("a frame of RAM");
            assert_eq!(ram.index_of(gfn.start()), Some(index));
            assert_eq!(ram.index_of_hva(hva + 4095), Some(index));
        }
        assert_eq!(ram.gfn(FrameIndex(0xc0000)), Some(Gfn(0x10_0000)), "RAM goes on above the hole");
        assert_eq!(ram.hva(FrameIndex(0x10_0000)), None);
        assert_eq!(ram.index_of(Gpa(0xd000_0000)), None, "the hole is not RAM");
    }
}
