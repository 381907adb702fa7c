use std::sync::Arc;

use proptest::prelude::*;

use crate::devices::SwapDisk;
use crate::devices::file_disk::tests::{Fixture, buffer};
use crate::devices::virtio::Block;
use crate::devices::virtio::test_driver::{BUFFERS, Driver};
use crate::memory::Size;
use crate::store::{Store, StoreSpec};

/// Where the only file is, and its length.
const START: u64 = 8192;
const LEN: usize = 3 * 4096;
const IOERR: u8 = 1;
const UNSUPP: u8 = 2;

fn guest() -> Fixture {
    Fixture::new(&[("a", &[0; LEN])])
}

fn status(guest: &Fixture) -> u8 {
    guest.driver.load(BUFFERS + 0x100, 1)[0]
}

#[test]
fn the_device_tells_what_it_is_by_id() {
    let mut guest = guest();
    guest.header(8, 0);
    let used =
        guest.driver.request(0, &[buffer(0, 16, false), buffer(0x1000, 20, true), buffer(0x100, 1, true)]);
    assert_eq!((used, status(&guest)), (21, 0));
    assert_eq!(guest.driver.load(BUFFERS + 0x1000, 13), b"bifold-files\0");
}

#[test]
fn header_data_and_status_may_be_cut_anywhere() {
    let mut guest = guest();
    let data: Vec<u8> = (0..1024).map(|at| at as u8).collect();
    guest.driver.store(BUFFERS + 0x1010, &data);
    guest.header(1, START / 512);
    let header = guest.driver.load(BUFFERS, 16);
    guest.driver.store(BUFFERS + 0x1000, &header);
    // The header's end and the data in one buffer.
    guest.driver.request(0, &[buffer(0, 5, false), buffer(0x1005, 11 + 1024, false), buffer(0x100, 1, true)]);
    assert_eq!(status(&guest), 0);

    guest.header(0, START / 512);
    // The data's end and the status in one buffer.
    let used =
        guest.driver.request(0, &[buffer(0, 16, false), buffer(0x3000, 1, true), buffer(0x4000, 1024, true)]);
    assert_eq!(used, 1025);
    assert_eq!(guest.driver.load(BUFFERS + 0x3000, 1), data[..1]);
    assert_eq!(guest.driver.load(BUFFERS + 0x4000, 1023), data[1..]);
    assert_eq!(guest.driver.load(BUFFERS + 0x4000 + 1023, 1), [0], "the status");
}

#[test]
fn requests_past_the_end_or_not_of_whole_sectors_are_io_errors() {
    let mut guest = guest();
    let sectors = (START + LEN as u64) / 512;
    for (sector, len) in
        [(sectors, 512), (sectors - 1, 1024), (u64::MAX, 512), (u64::MAX / 512, 512), (0, 100)]
    {
        for (kind, writable) in [(0, true), (1, false)] {
            guest.header(kind, sector);
            let data = buffer(0x1000, len, writable);
            let used = guest.driver.request(0, &[buffer(0, 16, false), data, buffer(0x100, 1, true)]);
            assert_eq!((used, status(&guest)), (1, IOERR), "{kind} at {sector}");
        }
    }
}

#[test]
fn chains_that_make_no_sense_come_back_untouched() {
    let mut guest = guest();
    guest.header(0, 0);
    for chain in [
        &[buffer(0, 16, false)][..],
        &[buffer(0, 16, false), buffer(0x1000, 512, false)],
        &[buffer(0x100, 1, true), buffer(0, 16, false)],
        &[buffer(0, 16, false), buffer(0x10_0000, 512, true), buffer(0x100, 1, true)],
        &[buffer(0, 16, false), buffer(0x1000, u32::MAX, true), buffer(0x100, 1, true)],
    ] {
        assert_eq!(guest.driver.request(0, chain), 0, "{chain:?}");
        assert_eq!(status(&guest), 0xee);
    }
    assert_eq!(guest.driver.request(0, &[buffer(0, 15, false), buffer(0x100, 1, true)]), 1);
    assert_eq!(status(&guest), IOERR, "half a header");
}

#[test]
fn unknown_requests_and_discards_of_files_are_unsupported() {
    let mut guest = guest();
    for kind in [2, 11, 13, 14, u32::MAX] {
        guest.header(kind, 0);
        guest.driver.request(0, &[buffer(0, 16, false), buffer(0x100, 1, true)]);
        assert_eq!(status(&guest), UNSUPP, "{kind}");
    }
    guest.header(4, 0);
    guest.driver.request(0, &[buffer(0, 16, false), buffer(0x100, 1, true)]);
    assert_eq!(status(&guest), 0, "flush");
}

#[test]
fn a_discard_frees_its_blocks_all_or_none() {
    let store = Arc::new(Store::open(&StoreSpec::Memory, 256).expect("in memory"));
    let mut driver = Driver::start(Block::new(SwapDisk::new(Size::mib(1), store.clone())));
    let mut request = |kind: u64, data: &[u8]| {
        driver.store(BUFFERS, &[kind.to_le_bytes(), 0_u64.to_le_bytes()].concat());
        driver.store(BUFFERS + 0x1000, data);
        let data = buffer(0x1000, data.len() as u32, false);
        driver.request(0, &[buffer(0, 16, false), data, buffer(0x100, 1, true)]);
        driver.load(BUFFERS + 0x100, 1)[0]
    };
    assert_eq!(request(1, &[7; 8 * 4096]), 0);
    assert_eq!(store.stats().slots_used, 8);

    let segments = |segments: &[(u64, u32, u32)]| {
        let bytes = segments.iter().flat_map(|(sector, sectors, flags)| {
            [sector.to_le_bytes(), (u64::from(*flags) << 32 | u64::from(*sectors)).to_le_bytes()].concat()
        });
        bytes.collect::<Vec<u8>>()
    };
    for (ranges, status, left) in [
        (segments(&[(0, 8, 0), (2048, 8, 0)]), IOERR, 8),
        (segments(&[(0, 8, 0), (u64::MAX, 8, 0)]), IOERR, 8),
        (segments(&[(0, 8, 0), (8, 8, 1)]), UNSUPP, 8),
        (vec![0; 17], IOERR, 8),
        (segments(&[(0, 8, 0), (12, 12, 0)]), 0, 6),
    ] {
        assert_eq!(request(11, &ranges), status);
        assert_eq!(store.stats().slots_used, left);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn reads_and_writes_match_a_plain_array(
        requests in prop::collection::vec((any::<bool>(), 0..LEN / 512, 1..8_usize, any::<u8>()), 1..40),
    ) {
        let mut guest = guest();
        let mut model = vec![0; LEN];
        for (write, sector, sectors, fill) in requests {
            let at = sector * 512;
            let len = (sectors * 512).min(LEN - at);
            if write {
                let data: Vec<u8> = (0..len).map(|at| fill.wrapping_add((at / 7) as u8)).collect();
                prop_assert_eq!(guest.write(START + at as u64, &data), 0);
                model[at..at + len].copy_from_slice(&data);
            } else {
                prop_assert_eq!(guest.read(START + at as u64, len as u32), Some(model[at..at + len].to_vec()));
            }
        }
        prop_assert_eq!(std::fs::read(guest.folder.path().join("a")).expect("readable"), model);
    }
}
