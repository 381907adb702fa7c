//! virtio-blk (section 5.2 of the specification) over a [`Disk`].

use std::ops::Range;

use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_DISCARD, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_bindings::virtio_ids::VIRTIO_ID_BLOCK;
use virtio_queue::{Error, Queue};
use vm_memory::GuestMemoryMmap;

use super::{Buffers, VirtioDevice, serve_chains};
use crate::devices::disk::{Disk, DiskError};
use crate::devices::guest_slices::GuestSlices;

#[cfg(test)]
mod tests;

/// The unit of addresses, whatever the block size.
const SECTOR: u64 = 512;
/// The block size that the disk works best with.
const BLOCK: u32 = 4096;
const QUEUE_SIZES: &[u16] = &[256];
/// Data buffers in one request: a full queue without header and status.
const MAX_SEGMENTS: u32 = 254;
/// Ranges in one discard request.
const MAX_DISCARD_SEGMENTS: u32 = 256;
/// Length of the configuration space up to and including the fields for discard.
const CONFIG_LEN: usize = 48;
const HEADER_LEN: usize = 16;
const DISCARD_SEGMENT_LEN: usize = 16;

/// A disk as the guest's virtio-blk driver sees it.
pub struct Block<D> {
    disk: D,
    config: [u8; CONFIG_LEN],
}

/// Why a request failed.
enum Failure {
    /// Its form or range is wrong: the driver's mistake.
    Malformed,
    /// We do not know its type.
    Unsupported,
    /// The disk's mistake.
    Disk(DiskError),
}

impl From<DiskError> for Failure {
    fn from(error: DiskError) -> Self {
        Self::Disk(error)
    }
}

impl<D: Disk> Block<D> {
    /// Puts `disk` behind virtio-blk.
    #[must_use]
    pub fn new(disk: D) -> Self {
        let mut config = [0; CONFIG_LEN];
        let mut set = |at: usize, bytes: &[u8]| config[at..at + bytes.len()].copy_from_slice(bytes);
        set(0, &(disk.size() / SECTOR).to_le_bytes());
        set(12, &MAX_SEGMENTS.to_le_bytes());
        set(20, &BLOCK.to_le_bytes());
        set(36, &u32::MAX.to_le_bytes()); // max_discard_sectors
        set(40, &MAX_DISCARD_SEGMENTS.to_le_bytes());
        set(44, &(BLOCK / SECTOR as u32).to_le_bytes()); // discard_sector_alignment
        Self { disk, config }
    }

    /// Serves one request; returns how many bytes of the guest's memory it wrote. A chain without room for the
    /// status byte cannot be answered.
    fn serve(&mut self, mut buffers: Buffers<'_>) -> u32 {
        let Some(status) = buffers.writable.split_last(1) else { return 0 };
        let (code, written) = match self.execute(buffers) {
            Ok(written) => (VIRTIO_BLK_S_OK, written),
            Err(Failure::Malformed) => {
                log::debug!("{}: malformed request", D::ID);
                (VIRTIO_BLK_S_IOERR, 0)
            }
            Err(Failure::Unsupported) => (VIRTIO_BLK_S_UNSUPP, 0),
            Err(Failure::Disk(error)) => {
                log::warn!("{error}");
                (VIRTIO_BLK_S_IOERR, 0)
            }
        };
        status.copy_from(&[code as u8]);
        written.saturating_add(1)
    }

    fn execute(&mut self, buffers: Buffers<'_>) -> Result<u32, Failure> {
        let Buffers { mut readable, writable } = buffers;
        let header = readable.split_first(HEADER_LEN).ok_or(Failure::Malformed)?;
        let (kind, sector) = parse_header(&header);
        match kind {
            VIRTIO_BLK_T_IN => {
                let written = writable.len() as u32;
                let range = self.data_range(sector, writable.len())?;
                self.disk.read(range.start, writable)?;
                Ok(written)
            }
            VIRTIO_BLK_T_OUT => {
                let range = self.data_range(sector, readable.len())?;
                self.disk.write(range.start, readable)?;
                Ok(0)
            }
            VIRTIO_BLK_T_FLUSH => {
                self.disk.flush()?;
                Ok(0)
            }
            VIRTIO_BLK_T_GET_ID => {
                let mut id = [0; 20];
                const { assert!(D::ID.len() <= 20) };
                id[..D::ID.len()].copy_from_slice(D::ID.as_bytes());
                Ok(writable.copy_from(&id) as u32)
            }
            VIRTIO_BLK_T_DISCARD if self.disk.can_discard() => {
                self.discard(readable)?;
                Ok(0)
            }
            _ => Err(Failure::Unsupported),
        }
    }

    /// All ranges are checked before the first is discarded.
    fn discard(&mut self, mut segments: GuestSlices<'_>) -> Result<(), Failure> {
        let count = segments.len() / DISCARD_SEGMENT_LEN;
        if !segments.len().is_multiple_of(DISCARD_SEGMENT_LEN) || count > MAX_DISCARD_SEGMENTS as usize {
            return Err(Failure::Malformed);
        }
        let mut ranges = Vec::with_capacity(count);
        while let Some(segment) = segments.split_first(DISCARD_SEGMENT_LEN) {
            let (sector, sectors, flags) = parse_discard(&segment);
            if flags != 0 {
                return Err(Failure::Unsupported);
            }
            ranges.push(self.range(sector, u64::from(sectors) * SECTOR)?);
        }
        for range in ranges {
            self.disk.discard(range)?;
        }
        Ok(())
    }

    /// Where `len` bytes of data are: whole sectors, all on the disk.
    fn data_range(&self, sector: u64, len: usize) -> Result<Range<u64>, Failure> {
        if !(len as u64).is_multiple_of(SECTOR) {
            return Err(Failure::Malformed);
        }
        self.range(sector, len as u64)
    }

    fn range(&self, sector: u64, len: u64) -> Result<Range<u64>, Failure> {
        let start = sector.checked_mul(SECTOR).ok_or(Failure::Malformed)?;
        let end = start.checked_add(len).ok_or(Failure::Malformed)?;
        if end > self.disk.size() {
            return Err(Failure::Malformed);
        }
        Ok(start..end)
    }
}

impl<D: Disk> VirtioDevice for Block<D> {
    const TYPE: u32 = VIRTIO_ID_BLOCK;

    fn features(&self) -> u64 {
        let mut features = 1 << VIRTIO_BLK_F_SEG_MAX | 1 << VIRTIO_BLK_F_BLK_SIZE | 1 << VIRTIO_BLK_F_FLUSH;
        if self.disk.read_only() {
            features |= 1 << VIRTIO_BLK_F_RO;
        }
        if self.disk.can_discard() {
            features |= 1 << VIRTIO_BLK_F_DISCARD;
        }
        features
    }

    fn queue_sizes(&self) -> &'static [u16] {
        QUEUE_SIZES
    }

    fn config(&self) -> &[u8] {
        &self.config
    }

    fn process(&mut self, _index: usize, queue: &mut Queue, memory: &GuestMemoryMmap) -> Result<bool, Error> {
        serve_chains(queue, memory, |buffers| self.serve(buffers))
    }
}

/// Type and sector of struct virtio_blk_req.
fn parse_header(header: &GuestSlices<'_>) -> (u32, u64) {
    let mut words = [[0; 4]; 4];
    header.copy_to(words.as_flattened_mut());
    let [kind, _priority, low, high] = words.map(u32::from_le_bytes);
    (kind, u64::from(high) << 32 | u64::from(low))
}

/// Sector, number of sectors and flags of struct virtio_blk_discard_write_zeroes.
fn parse_discard(segment: &GuestSlices<'_>) -> (u64, u32, u32) {
    let mut words = [[0; 4]; 4];
    segment.copy_to(words.as_flattened_mut());
    let [low, high, sectors, flags] = words.map(u32::from_le_bytes);
    (u64::from(high) << 32 | u64::from(low), sectors, flags)
}
