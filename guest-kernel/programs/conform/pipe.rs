//! Pipes.

use super::Check;
use super::os::{End, child, close, pipe, read, sleep_ms, write};

pub const CHECKS: &[Check] = &[
    ("a pipe holds 64 KiB and then says so", capacity),
    ("a writer waits for its reader, a reader for its writer", blocking),
    ("writing to a pipe that nobody reads is SIGPIPE or EPIPE", broken),
    ("small writes from several processes are not mixed", atomic),
    ("poll tells what a pipe is ready for", polled),
];

fn set_nonblocking(descriptor: i32) {
    // SAFETY: a descriptor of ours.
    assert_eq!(unsafe { libc::fcntl(descriptor, libc::F_SETFL, libc::O_NONBLOCK) }, 0);
}

fn capacity() {
    let (reader, writer) = pipe();
    set_nonblocking(writer);
    set_nonblocking(reader);
    assert_eq!(read(reader, &mut [0]), Err(libc::EAGAIN));
    assert_eq!(write(writer, &[1; 100_000]), Ok(65_536));
    assert_eq!(write(writer, &[1]), Err(libc::EAGAIN));
    let mut bytes = vec![0; 100_000];
    assert_eq!(read(reader, &mut bytes), Ok(65_536));
    assert!(bytes[..65_536].iter().all(|&byte| byte == 1));
    close(reader);
    close(writer);
}

fn blocking() {
    let (reader, writer) = pipe();
    let slow = child(|| {
        close(reader);
        sleep_ms(20);
        i32::from(write(writer, &[7; 200_000]) != Ok(200_000))
    });
    close(writer);
    let (mut total, mut part) = (0, [0; 30_000]);
    loop {
        match read(reader, &mut part).unwrap() {
            0 => break,
            count => {
                assert!(part[..count].iter().all(|&byte| byte == 7));
                total += count;
            }
        }
    }
    assert_eq!((total, slow.wait()), (200_000, End::Exit(0)));
    close(reader);
}

fn broken() {
    let (reader, writer) = pipe();
    close(reader);
    let killed = child(|| {
        // Rust's runtime ignores the signal.
        // SAFETY: the default action.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
        write(writer, b"x").map_or(1, |_| 2)
    });
    assert_eq!(killed.wait(), End::Signal(libc::SIGPIPE));
    assert_eq!(write(writer, b"x"), Err(libc::EPIPE));
    close(writer);
}

fn atomic() {
    let (reader, writer) = pipe();
    let writers: Vec<_> = (0..4u8)
        .map(|letter| {
            child(|| {
                let whole = (0..10).all(|_| write(writer, &[letter; 4096]) == Ok(4096));
                i32::from(!whole)
            })
        })
        .collect();
    close(writer);
    for _ in 0..40 {
        let (mut bytes, mut have) = ([9; 4096], 0);
        while have < bytes.len() {
            have += read(reader, &mut bytes[have..]).unwrap();
        }
        assert!(bytes.iter().all(|&byte| byte == bytes[0]));
    }
    assert_eq!(read(reader, &mut [0]), Ok(0));
    writers.into_iter().for_each(|writer| assert_eq!(writer.wait(), End::Exit(0)));
    close(reader);
}

fn polled() {
    let (reader, writer) = pipe();
    let poll = |descriptor, milliseconds| {
        let mut asked = libc::pollfd { fd: descriptor, events: libc::POLLIN | libc::POLLOUT, revents: 0 };
        // SAFETY: one element, ours to write.
        unsafe { libc::poll(&raw mut asked, 1, milliseconds) };
        asked.revents
    };
    assert_eq!(poll(reader, 0), 0);
    assert_eq!(poll(reader, 10), 0);
    assert_eq!(poll(writer, -1), libc::POLLOUT);
    let late = child(|| {
        sleep_ms(10);
        i32::from(write(writer, b"x") != Ok(1))
    });
    assert_eq!(poll(reader, -1), libc::POLLIN);
    assert_eq!(late.wait(), End::Exit(0));
    close(writer);
    assert_eq!(poll(reader, -1), libc::POLLIN | libc::POLLHUP);
    assert_eq!(read(reader, &mut [0; 2]), Ok(1));
    assert_eq!(poll(reader, -1), libc::POLLHUP);
    close(reader);
}
