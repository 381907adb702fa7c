use std::fs::File;
use std::io::{Read, Write, pipe};
use std::thread;

use vmm_sys_util::poll::PollContext;

use super::*;
use crate::devices::virtio::InputReader;
use crate::devices::virtio::test_driver::{BUFFERS, Buffer, Driver};

fn readable(len: u32) -> Buffer {
    Buffer { start: BUFFERS, len, writable: false }
}

fn writable(len: u32) -> Buffer {
    Buffer { start: BUFFERS, len, writable: true }
}

/// A console whose output goes nowhere.
fn silent() -> Driver<Console> {
    let nowhere = File::options().write(true).open("/dev/null").expect("there is one");
    Driver::start(Console::new(nowhere.into(), Outcome::default()))
}

/// Waits for the device's interrupt and returns what the next receive buffer got.
fn received(guest: &mut Driver<Console>) -> Vec<u8> {
    loop {
        if let Some(len) = guest.used(RECEIVE) {
            return guest.load(BUFFERS, len as usize);
        }
        let interrupt = PollContext::<u32>::new().expect("epoll");
        interrupt.add(&guest.irq, 0).expect("epoll");
        interrupt.wait().expect("epoll");
        guest.irq.read().expect("it was raised");
    }
}

#[test]
fn what_is_transmitted_is_written_before_the_notification_returns() {
    let (mut reader, writer) = pipe().expect("a pipe");
    let mut guest = Driver::start(Console::new(writer.into(), Outcome::default()));
    guest.store(BUFFERS, b"hello, world");
    assert_eq!(guest.request(TRANSMIT, &[readable(5)]), 0);
    guest.request(
        TRANSMIT,
        &[Buffer { start: BUFFERS + 5, ..readable(3) }, Buffer { start: BUFFERS + 8, ..readable(4) }],
    );
    let mut bytes = [0; 12];
    reader.read_exact(&mut bytes).expect("there is as much");
    assert_eq!(&bytes, b"hello, world");
}

#[test]
fn a_full_pipe_gets_everything_in_the_end() {
    let (mut reader, writer) = pipe().expect("a pipe");
    rustix::io::ioctl_fionbio(&writer, true).expect("a pipe can be non-blocking");
    let mut guest = Driver::start(Console::new(writer.into(), Outcome::default()));
    let sent: Vec<u8> = (0..0x8_0000).map(|at| (at / 3) as u8).collect();
    guest.store(BUFFERS, &sent);
    let all = thread::spawn(move || {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).expect("readable");
        bytes
    });
    guest.request(TRANSMIT, &[readable(sent.len() as u32)]);
    drop(guest);
    assert!(all.join().expect("no panic") == sent);
}

#[test]
fn a_closed_pipe_ends_the_run() {
    let (reader, writer) = pipe().expect("a pipe");
    drop(reader);
    let outcome = Outcome::default();
    let mut guest = Driver::start(Console::new(writer.into(), outcome.clone()));
    guest.request(TRANSMIT, &[readable(1)]);
    assert_eq!(outcome.get(), Some(Ending::BrokenPipe));
}

#[test]
fn a_full_disk_ends_the_run() {
    let full = File::options().write(true).open("/dev/full").expect("there is one");
    let outcome = Outcome::default();
    let mut guest = Driver::start(Console::new(full.into(), outcome.clone()));
    guest.request(TRANSMIT, &[readable(1)]);
    assert_eq!(outcome.get(), Some(Ending::OutputFailed(Errno::NOSPC)));
}

#[test]
fn without_an_input_nothing_is_ever_received() {
    let mut guest = silent();
    guest.offer(RECEIVE, &[writable(16)]);
    guest.notify(RECEIVE);
    assert_eq!(guest.used(RECEIVE), None);
}

#[test]
fn input_fills_buffer_after_buffer_and_ends_with_an_empty_one() {
    let (source, mut typed) = pipe().expect("a pipe");
    let mut guest = silent();
    let _input = InputReader::start(source.into(), guest.mmio.clone()).expect("a thread");
    typed.write_all(b"0123456789").expect("room");
    drop(typed);
    for expected in ["0123", "4567", "89", "", ""] {
        guest.offer(RECEIVE, &[writable(4)]);
        guest.notify(RECEIVE);
        assert_eq!(received(&mut guest), expected.as_bytes());
    }
}

#[test]
fn nothing_is_read_that_the_guest_did_not_ask_for() {
    let (source, mut typed) = pipe().expect("a pipe");
    let mut guest = silent();
    typed.write_all(b"for the guest, for the next").expect("room");
    let input = InputReader::start(source.try_clone().expect("a descriptor").into(), guest.mmio.clone());
    guest.offer(RECEIVE, &[writable(13)]);
    guest.notify(RECEIVE);
    assert_eq!(received(&mut guest), b"for the guest");
    drop(input);
    drop(typed);
    let mut rest = String::new();
    { source }.read_to_string(&mut rest).expect("readable");
    assert_eq!(rest, ", for the next");
}

#[test]
fn the_reader_stops_while_it_waits_for_input() {
    let (source, typed) = pipe().expect("a pipe");
    let mut guest = silent();
    let idle = InputReader::start(source.try_clone().expect("a descriptor").into(), guest.mmio.clone());
    drop(idle);
    let reading = InputReader::start(source.into(), guest.mmio.clone());
    guest.offer(RECEIVE, &[writable(1)]);
    guest.notify(RECEIVE);
    drop(reading);
    drop(typed);
}

#[test]
fn input_that_comes_after_a_reset_is_not_lost() {
    let (source, mut typed) = pipe().expect("a pipe");
    let mut guest = silent();
    let _input = InputReader::start(source.into(), guest.mmio.clone()).expect("a thread");
    guest.offer(RECEIVE, &[writable(8)]);
    guest.notify(RECEIVE);
    guest.initialise();
    typed.write_all(b"abc").expect("room");
    guest.offer(RECEIVE, &[writable(8)]);
    guest.notify(RECEIVE);
    assert_eq!(received(&mut guest), b"abc");
}

#[test]
fn a_buffer_that_makes_no_sense_comes_back_without_costing_input() {
    let (source, mut typed) = pipe().expect("a pipe");
    let mut guest = silent();
    let _input = InputReader::start(source.into(), guest.mmio.clone()).expect("a thread");
    typed.write_all(b"abc").expect("room");
    assert_eq!(guest.request(RECEIVE, &[readable(8)]), 0);
    assert_eq!(guest.request(RECEIVE, &[Buffer { start: u64::MAX, ..writable(8) }]), 0);
    guest.irq.read().expect("two came back");
    guest.offer(RECEIVE, &[writable(8)]);
    guest.notify(RECEIVE);
    assert_eq!(received(&mut guest), b"abc");
}
