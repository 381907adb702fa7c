use proptest::prelude::*;
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_WRITE};

use super::*;
use crate::devices::file_disk::tests::{Fixture, buffer};
use crate::devices::virtio::test_driver::{BUFFERS, QUEUE_SIZE};

const STATUS: u64 = 0x70;

fn guest() -> Fixture {
    Fixture::new(&[("a", &[5; 8192]), ("b:ro", &[6; 100])])
}

/// Where file "a" is.
const START: u64 = 8192;

#[test]
fn the_registers_name_the_device() {
    let guest = guest();
    assert_eq!(guest.driver.get(0x000), 0x7472_6976);
    assert_eq!(guest.driver.get(0x004), 2);
    assert_eq!(guest.driver.get(0x008), 2, "a block device");
    assert_eq!(guest.driver.get(0x034), 256);
    assert_eq!(guest.driver.get(0x0b0), u32::MAX, "no shared memory");
    assert_eq!(guest.driver.get(0x0fc), 0);
    guest.driver.set(0x030, 1);
    assert_eq!(guest.driver.get(0x034), 0, "no such queue");
}

#[test]
fn features_are_agreed_only_if_version_1_is_taken_and_nothing_is_invented() {
    let guest = guest();
    for (low, high, agreed) in [(0, 1, true), (0, 0, false), (1 << 24, 1, false), (0, 3, false)] {
        guest.driver.set(STATUS, 0);
        guest.driver.set(STATUS, 3);
        for (half, value) in [(0, low), (1, high), (2, u32::MAX)] {
            guest.driver.set(0x24, half);
            guest.driver.set(0x20, value);
        }
        guest.driver.set(STATUS, 3 | 8);
        assert_eq!(guest.driver.get(STATUS) & 8 != 0, agreed, "{low:#x} {high:#x}");
        guest.driver.set(STATUS, 3 | 8 | 4);
        assert_eq!(guest.driver.get(STATUS) & 4 != 0, agreed, "no use without agreement");
    }
}

#[test]
fn a_status_bit_is_never_taken_back_but_by_reset() {
    let guest = guest();
    guest.driver.set(STATUS, 1);
    assert_eq!(guest.driver.get(STATUS), 15);
    guest.driver.set(STATUS, 0);
    assert_eq!(guest.driver.get(STATUS), 0);
    assert_eq!(guest.driver.get(0x44), 0, "no queue is ready after a reset");
}

#[test]
fn a_queue_in_use_cannot_be_moved() {
    let mut guest = guest();
    for (register, value) in [(0x38, 8), (0x80, 0), (0x84, 1), (0x90, 2), (0xa0, 4), (0x44, 0)] {
        guest.driver.set(register, value);
    }
    assert_eq!(guest.read(START, 512), Some(vec![5; 512]));
}

#[test]
fn a_queue_outside_ram_never_gets_ready() {
    let guest = guest();
    guest.driver.set(STATUS, 0);
    guest.driver.set(STATUS, 3);
    guest.driver.set(0x24, 1);
    guest.driver.set(0x20, 1);
    guest.driver.set(STATUS, 3 | 8);
    guest.driver.set(0x38, 16);
    for (low, high) in [(0x10_0000, 0), (0xffff_fff0, 0xffff_ffff), (0xf_fff0, 0)] {
        guest.driver.set(0x80, low);
        guest.driver.set(0x84, high);
        guest.driver.set(0x44, 1);
        assert_eq!(guest.driver.get(0x44), 0);
    }
}

#[test]
fn an_interrupt_comes_unless_the_driver_polls() {
    let mut guest = guest();
    guest.driver.set_available_flags(0, 1);
    guest.read(START, 512).expect("readable");
    assert_eq!(guest.driver.get(0x60), 0);
    assert!(guest.driver.irq.read().is_err(), "no interrupt while the driver polls");

    guest.driver.set_available_flags(0, 0);
    guest.read(START, 512).expect("readable");
    assert_eq!(guest.driver.get(0x60), 1);
    assert_eq!(guest.driver.irq.read().expect("an interrupt"), 1);
    guest.driver.set(0x64, 1);
    assert_eq!(guest.driver.get(0x60), 0);

    guest.driver.notify(0);
    assert!(guest.driver.irq.read().is_err(), "no interrupt for nothing");
}

#[test]
fn a_lie_about_the_available_ring_stops_the_device_until_reset() {
    let mut guest = guest();
    guest.driver.set_available_index(0, QUEUE_SIZE + 1);
    guest.driver.notify(0);
    assert_eq!(guest.driver.get(STATUS), 15 | 64, "needs reset");
    assert_eq!(guest.driver.get(0x60), 2);
    assert_eq!(guest.driver.irq.read().expect("an interrupt"), 1);
    guest.driver.initialise();
    assert_eq!(guest.read(START, 512), Some(vec![5; 512]));
}

#[test]
fn an_indirect_table_is_followed() {
    let mut guest = guest();
    guest.header(0, START / 512);
    let table = BUFFERS + 0x200;
    for (at, (part, flags)) in
        [(buffer(0, 16, false), 1_u16), (buffer(0x1000, 512, true), 1 | 2), (buffer(0x100, 1, true), 2)]
            .into_iter()
            .enumerate()
    {
        let entry = table + 16 * at as u64;
        guest.driver.store(entry, &part.start.to_le_bytes());
        guest.driver.store(entry + 8, &part.len.to_le_bytes());
        guest.driver.store(entry + 12, &flags.to_le_bytes());
        guest.driver.store(entry + 14, &(at as u16 + 1).to_le_bytes());
    }
    guest.driver.describe(0, 0, table, 48, VRING_DESC_F_INDIRECT as u16, 0);
    guest.driver.make_available(0, 0);
    guest.driver.notify(0);
    assert_eq!(guest.driver.used(0), Some(513));
    assert_eq!(guest.driver.load(BUFFERS + 0x1000, 512), [5; 512]);
}

#[test]
fn a_chain_that_runs_in_a_circle_comes_back() {
    let mut guest = guest();
    guest.driver.describe(0, 0, BUFFERS, 16, 1, 1);
    guest.driver.describe(0, 1, BUFFERS, 16, 1, 0);
    guest.driver.make_available(0, 0);
    guest.driver.notify(0);
    assert_eq!(guest.driver.used(0), Some(0));
}

/// What a hostile guest does.
#[derive(Clone, Debug)]
enum Act {
    Read(u64, usize),
    Write(u64, Vec<u8>),
    Describe { index: u16, start: u64, len: u32, flags: u16, next: u16 },
    Header(u32, u64),
    Offer(u16),
    Available(u16),
    Notify(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let register = prop_oneof![(0_u64..0x60).prop_map(|at| at * 4), 0_u64..0x1000, any::<u64>()];
    let address = prop_oneof![
        0_u64..0x11_0000,
        (0_u64..0x800).prop_map(|at| BUFFERS + at),
        any::<u64>(),
        Just(0x1_0000_u64),
        Just(BUFFERS)
    ];
    let len = prop_oneof![Just(1_u32), Just(16), Just(512), Just(4096), 0_u32..0x3000, any::<u32>()];
    let flags = prop_oneof![0_u16..4, 0_u16..8, any::<u16>(), Just(VRING_DESC_F_WRITE as u16)];
    prop_oneof![
        1 => (register.clone(), 0_usize..20).prop_map(|(at, len)| Act::Read(at, len)),
        2 => (register.clone(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(at, data)| Act::Write(at, data)),
        2 => (register, any::<u32>()).prop_map(|(at, value)| Act::Write(at, value.to_le_bytes().to_vec())),
        6 => (0_u16..QUEUE_SIZE, address, len, flags, 0_u16..20).prop_map(|(index, start, len, flags, next)| {
            Act::Describe { index, start, len, flags, next }
        }),
        3 => (0_u32..14, prop_oneof![0_u64..40, any::<u64>()]).prop_map(|(kind, at)| Act::Header(kind, at)),
        4 => (0_u16..20).prop_map(Act::Offer),
        1 => any::<u16>().prop_map(Act::Available),
        4 => (0_usize..3).prop_map(Act::Notify),
    ]
}

proptest! {
    #[test]
    fn whatever_a_guest_does_the_device_survives(acts in prop::collection::vec(act(), 1..120)) {
        let mut guest = guest();
        for act in acts {
            match act {
                Act::Read(at, len) => guest.driver.mmio.lock().expect("unpoisoned").read(at, &mut vec![0; len]),
                Act::Write(at, data) => guest.driver.mmio.lock().expect("unpoisoned").write(at, &data),
                Act::Describe { index, start, len, flags, next } => {
                    guest.driver.describe(0, index, start, len, flags, next);
                }
                Act::Header(kind, sector) => guest.header(kind, sector),
                Act::Offer(head) => guest.driver.make_available(0, head),
                Act::Available(index) => guest.driver.set_available_index(0, index),
                Act::Notify(queue) => guest.driver.notify(queue),
            }
        }
        let metadata = |name| guest.folder.path().join(name).metadata().expect("still there");
        prop_assert_eq!(metadata("a").len(), 8192);
        prop_assert_eq!(metadata("b").len(), 100);
        prop_assert_eq!(std::fs::read(guest.folder.path().join("b")).expect("readable"), vec![6; 100]);

        guest.driver.initialise();
        prop_assert_eq!(guest.write(START, &[1; 512]), 0);
        prop_assert_eq!(guest.read(START, 512), Some(vec![1; 512]));
    }
}
