//! Pipes.

use super::Check;
use super::os::{End, child, close, pipe, read, result, sleep_ms, write};

pub const CHECKS: &[Check] = &[
    ("a pipe holds 64 KiB and then says so", capacity),
    ("a writer waits for its reader, a reader for its writer", blocking),
    ("writing to a pipe that nobody reads is SIGPIPE or EPIPE", broken),
    ("small writes from several processes are not mixed", atomic),
    ("poll tells what a pipe is ready for", polled),
    ("a list of descriptors is waited for together", listed),
    ("sets of descriptors are waited for together", selected),
    ("a counter wakes who waits for it", counter),
    ("a descriptor that dup2 takes over is closed", taken_over),
    ("the upper half of an int's register means nothing", ints),
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

fn listed() {
    let (reader, writer) = pipe();
    // SAFETY: no pointers.
    let list = result(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) }.into()).unwrap() as i32;
    let control = |operation, descriptor, events: i32, data| {
        let mut event = libc::epoll_event { events: events as u32, u64: data };
        // SAFETY: the event is ours to read.
        result(unsafe { libc::epoll_ctl(list, operation, descriptor, &raw mut event) }.into())
    };
    let wait = |milliseconds| {
        let mut found = [libc::epoll_event { events: 0, u64: 0 }; 4];
        // SAFETY: four elements, ours to write.
        let count = unsafe { libc::epoll_wait(list, found.as_mut_ptr(), 4, milliseconds) };
        let count = result(count.into()).unwrap() as usize;
        found[..count].iter().map(|event| (event.events as i32, event.u64)).collect::<Vec<_>>()
    };
    assert_eq!(control(libc::EPOLL_CTL_ADD, reader, libc::EPOLLIN, 7), Ok(0));
    assert_eq!(control(libc::EPOLL_CTL_ADD, reader, libc::EPOLLIN, 7), Err(libc::EEXIST));
    assert_eq!(control(libc::EPOLL_CTL_ADD, 999, libc::EPOLLIN, 7), Err(libc::EBADF));
    assert_eq!((wait(0), wait(5)), (vec![], vec![]));
    let late = child(|| {
        sleep_ms(10);
        i32::from(write(writer, b"x") != Ok(1))
    });
    assert_eq!(wait(-1), [(libc::EPOLLIN, 7)]);
    assert_eq!(late.wait(), End::Exit(0));
    assert_eq!(control(libc::EPOLL_CTL_ADD, writer, libc::EPOLLOUT | libc::EPOLLONESHOT, 8), Ok(0));
    assert_eq!(wait(-1), [(libc::EPOLLIN, 7), (libc::EPOLLOUT, 8)]);
    assert_eq!(wait(-1), [(libc::EPOLLIN, 7)], "the other was to be told once");
    assert_eq!(control(libc::EPOLL_CTL_DEL, reader, 0, 0), Ok(0));
    assert_eq!(control(libc::EPOLL_CTL_MOD, reader, 0, 0), Err(libc::ENOENT));
    [list, reader, writer].into_iter().for_each(close);
}

fn selected() {
    let (reader, writer) = pipe();
    // SAFETY: sets and a timeout of ours; the descriptors fit a set.
    let select = |wants: &[i32], reads: bool, microseconds| unsafe {
        let mut set: libc::fd_set = std::mem::zeroed();
        wants.iter().for_each(|&descriptor| libc::FD_SET(descriptor, &raw mut set));
        let mut timeout = libc::timeval { tv_sec: 0, tv_usec: microseconds };
        let (none, sets) = (std::ptr::null_mut(), &raw mut set);
        let [read, write] = if reads { [sets, none] } else { [none, sets] };
        let last = wants.iter().max().copied().unwrap_or(-1);
        let found = result(libc::select(last + 1, read, write, none, &raw mut timeout).into());
        (
            found,
            wants.iter().map(|&descriptor| libc::FD_ISSET(descriptor, &raw const set)).collect::<Vec<_>>(),
        )
    };
    assert_eq!(select(&[reader], true, 2000), (Ok(0), vec![false]));
    assert_eq!(select(&[writer], false, 2000), (Ok(1), vec![true]));
    let writes = child(|| {
        sleep_ms(5);
        write(writer, b"1").unwrap();
        0
    });
    assert_eq!(select(&[reader], true, 900_000), (Ok(1), vec![true]));
    assert_eq!(writes.wait(), End::Exit(0));
    [reader, writer].into_iter().for_each(close);
    assert_eq!(select(&[reader], true, 0).0, Err(libc::EBADF));
}

fn counter() {
    // SAFETY: no pointers.
    let counter = result(unsafe { libc::eventfd(3, libc::EFD_NONBLOCK) }.into()).unwrap() as i32;
    let mut value = [0; 8];
    assert_eq!((read(counter, &mut value), u64::from_ne_bytes(value)), (Ok(8), 3));
    assert_eq!(read(counter, &mut value), Err(libc::EAGAIN));
    assert_eq!(read(counter, &mut value[..4]), Err(libc::EINVAL));
    for more in [5u64, 6] {
        assert_eq!(write(counter, &more.to_ne_bytes()), Ok(8));
    }
    assert_eq!((read(counter, &mut value), u64::from_ne_bytes(value)), (Ok(8), 11));
    close(counter);
}

/// The last writer goes when its descriptor becomes something else: the reader, which waits, sees the end.
fn taken_over() {
    let (reader, writer) = pipe();
    let (told, tells) = pipe();
    let waits = child(|| {
        close(writer);
        write(tells, b"1").unwrap();
        read(reader, &mut [0]).unwrap() as i32
    });
    read(told, &mut [0]).unwrap();
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::dup2(reader, writer) }, writer);
    assert_eq!(waits.wait(), End::Exit(0));
    [reader, writer, told, tells].into_iter().for_each(close);
}

fn ints() {
    const NOISE: i64 = 0x7fff_0000_0000;
    let (reader, writer) = pipe();
    let mut byte = [0u8];
    // SAFETY: a byte to be read, and one to be written.
    unsafe {
        assert_eq!(libc::syscall(libc::SYS_write, NOISE | i64::from(writer), b"x".as_ptr(), 1i64), 1);
        assert_eq!(libc::syscall(libc::SYS_read, NOISE | i64::from(reader), byte.as_mut_ptr(), 1i64), 1);
        assert_eq!(libc::syscall(libc::SYS_close, NOISE | i64::from(reader)), 0);
    }
    assert_eq!(byte, *b"x");
    close(writer);
}
