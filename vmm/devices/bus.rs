//! A bus: which device answers at an address. One is for port I/O, another for MMIO.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

/// What sits on a bus.
///
/// `offset` is relative to the start of the device's range and inside it; `data` may be longer than the rest of
/// the range (a `rep outs` arrives as one write of all its bytes), so a device checks its length.
pub trait BusDevice: Send {
    /// Fills `data` with what the guest reads at `offset`.
    fn read(&mut self, offset: u64, data: &mut [u8]);

    /// Takes what the guest writes at `offset`.
    fn write(&mut self, offset: u64, data: &[u8]);
}

/// A device as the bus and its other users (its input thread, a report) share it.
pub type SharedDevice = Arc<Mutex<dyn BusDevice>>;

/// Why a device could not be put on a bus.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BusError {
    /// Its range is empty or ends past the last address.
    #[error("a device of {len:#x} bytes at {start:#x} does not fit the bus: choose another address")]
    Range {
        /// First address.
        start: u64,
        /// Number of addresses.
        len: u64,
    },
    /// Another device has some of its addresses.
    #[error("a device at {start:#x} overlaps the one at {other:#x}: choose another address")]
    Overlap {
        /// First address of the new device.
        start: u64,
        /// First address of the device that is there.
        other: u64,
    },
}

struct Slot {
    last: u64,
    device: SharedDevice,
}

/// Ranges of addresses and the device behind each.
#[derive(Default)]
pub struct Bus {
    /// By first address. Ranges never overlap.
    slots: BTreeMap<u64, Slot>,
}

impl Bus {
    /// Puts a device at `start..start + len`.
    ///
    /// # Errors
    /// The range is not one, or is taken.
    pub fn insert(&mut self, start: u64, len: u64, device: SharedDevice) -> Result<(), BusError> {
        let last = len
            .checked_sub(1)
            .and_then(|rest| start.checked_add(rest))
            .ok_or(BusError::Range { start, len })?;
        if let Some((&other, slot)) = self.slots.range(..=last).next_back()
            && slot.last >= start
        {
            return Err(BusError::Overlap { start, other });
        }
        self.slots.insert(start, Slot { last, device });
        Ok(())
    }

    /// Reads at `address`: all ones where there is no device. Returns whether there is one.
    pub fn read(&self, address: u64, data: &mut [u8]) -> bool {
        let Some((offset, device)) = self.find(address) else {
            data.fill(0xff);
            return false;
        };
        lock(device).read(offset, data);
        true
    }

    /// Writes at `address`: without effect where there is no device. Returns whether there is one.
    pub fn write(&self, address: u64, data: &[u8]) -> bool {
        let Some((offset, device)) = self.find(address) else { return false };
        lock(device).write(offset, data);
        true
    }

    fn find(&self, address: u64) -> Option<(u64, &Mutex<dyn BusDevice>)> {
        let (start, slot) = self.slots.range(..=address).next_back()?;
        (address <= slot.last).then(|| (address - start, &*slot.device))
    }
}

/// Locks a device. A thread that panicked while it held the lock ends the run anyway; until then the
/// others see the device as it left it.
pub(super) fn lock<T: ?Sized>(device: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    device.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers reads with the offset, keeps the last write.
    #[derive(Default)]
    struct Probe {
        written: Option<(u64, Vec<u8>)>,
    }

    impl BusDevice for Probe {
        fn read(&mut self, offset: u64, data: &mut [u8]) {
            data.fill(offset as u8);
        }

        fn write(&mut self, offset: u64, data: &[u8]) {
            self.written = Some((offset, data.to_vec()));
        }
    }

    fn probe() -> Arc<Mutex<Probe>> {
        Arc::default()
    }

    #[test]
    fn an_access_reaches_the_device_whose_range_it_starts_in() {
        let mut bus = Bus::default();
        let (first, second) = (probe(), probe());
        bus.insert(0x100, 8, first.clone()).expect("free");
        bus.insert(0x108, 8, second.clone()).expect("free");

        let mut byte = [0];
        assert!(bus.read(0x107, &mut byte));
        assert_eq!(byte, [7]);
        assert!(bus.write(0x10a, &[1, 2]));
        assert_eq!(second.lock().expect("unpoisoned").written, Some((2, vec![1, 2])));
        assert_eq!(first.lock().expect("unpoisoned").written, None);
    }

    #[test]
    fn nobody_answers_with_all_ones_and_takes_writes_in_silence() {
        let mut bus = Bus::default();
        bus.insert(0x100, 8, probe()).expect("free");
        for address in [0, 0xff, 0x108, u64::MAX] {
            let mut data = [0; 4];
            assert!(!bus.read(address, &mut data));
            assert_eq!(data, [0xff; 4]);
            assert!(!bus.write(address, &data));
        }
    }

    #[test]
    fn ranges_never_overlap_and_never_wrap() {
        let mut bus = Bus::default();
        bus.insert(0x100, 0x10, probe()).expect("free");
        for (start, len) in [(0x100, 1), (0x10f, 1), (0xff, 2), (0, 0x1000), (0x108, 0x100)] {
            assert_eq!(bus.insert(start, len, probe()), Err(BusError::Overlap { start, other: 0x100 }));
        }
        assert_eq!(bus.insert(0, 0, probe()), Err(BusError::Range { start: 0, len: 0 }));
        assert!(matches!(bus.insert(u64::MAX, 2, probe()), Err(BusError::Range { .. })));
        bus.insert(u64::MAX, 1, probe()).expect("the last address is an address");
        bus.insert(0x110, 0x10, probe()).expect("right after");
        bus.insert(0xf0, 0x10, probe()).expect("right before");
    }
}
