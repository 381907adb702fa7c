//! fork, exec, wait, and what a child shares with its parent.

use std::ffi::CString;
use std::ptr;

use programs::{fill, holds, map_pages};

use super::Check;
use super::os::{End, Fork, child, close, exit, faults, fork, pipe, read, wait, write};

pub const CHECKS: &[Check] = &[
    ("a child has its parent's memory, and neither sees what the other writes", copies_diverge),
    ("a fork copies no page, a write copies one", a_write_copies_one_page),
    ("a hundred children share a page and change it", many_children),
    ("children of children, each with its own copy", generations),
    ("two processes use the same address with different content", isolation),
    ("a wild access kills only the process that makes it", wild_access),
    ("wait tells how each child ended", ends),
    ("wait finds no child where there is none", no_child),
    ("a child that is not waited for yet is no process but has its number", zombie),
    ("orphans are adopted", orphans),
    ("another program gets its arguments, environment and descriptors", exec),
    ("what is not executable leaves the caller as it was", exec_fails),
    ("the parent of a vfork waits until its child runs another program", vfork),
    ("a pipe carries a parallel sort", parallel_sort),
];

const PAGES: usize = 64;

fn copies_diverge() {
    let pages = map_pages(PAGES);
    for (number, page) in pages.iter_mut().enumerate() {
        fill(page, number, 1);
    }
    let (from_child, to_parent) = pipe();
    let (from_parent, to_child) = pipe();
    let forked = child(|| {
        let inherited = (0..PAGES).all(|number| holds(&pages[number], number, 1));
        for number in (0..PAGES).step_by(2) {
            fill(&mut pages[number], number, 2);
        }
        write(to_parent, b"x").unwrap();
        read(from_parent, &mut [0]).unwrap();
        let own = (0..PAGES).all(|number| holds(&pages[number], number, if number % 2 == 0 { 2 } else { 1 }));
        i32::from(!(inherited && own))
    });
    read(from_child, &mut [0]).unwrap();
    assert!((0..PAGES).all(|number| holds(&pages[number], number, 1)), "the child's writes are seen");
    for (number, page) in pages.iter_mut().enumerate() {
        fill(page, number, 3);
    }
    write(to_child, b"x").unwrap();
    assert_eq!(forked.wait(), End::Exit(0));
    assert!((0..PAGES).all(|number| holds(&pages[number], number, 3)));
    [from_child, to_parent, from_parent, to_child].into_iter().for_each(close);
}

fn a_write_copies_one_page() {
    let pages = map_pages(PAGES);
    pages.iter_mut().for_each(|page| page[0] = 1);
    let forked = child(|| {
        // The first use of what counting itself touches is over.
        faults();
        let before = faults();
        let sum: u64 = pages.iter().map(|page| page[0]).sum();
        let reading = faults().0 - before.0;
        pages.iter_mut().for_each(|page| page[0] += 1);
        let writing = faults().0 - before.0 - reading;
        // Linux may copy a neighbour or two ahead; never fewer faults than pages.
        i32::from(
            !(sum == PAGES as u64 && reading <= 4 && (PAGES as i64..PAGES as i64 + 8).contains(&writing)),
        )
    });
    assert_eq!(forked.wait(), End::Exit(0));
}

fn many_children() {
    let pages = map_pages(4);
    fill(&mut pages[0], 0, 0);
    let children: Vec<_> = (1..=100)
        .map(|version| {
            child(|| {
                let inherited = holds(&pages[0], 0, 0);
                fill(&mut pages[0], 0, version);
                i32::from(!(inherited && holds(&pages[0], 0, version)))
            })
        })
        .collect();
    for child in children {
        assert_eq!(child.wait(), End::Exit(0));
    }
    assert!(holds(&pages[0], 0, 0));
}

fn generations() {
    fn descend(page: &mut programs::Page, depth: u32) -> i32 {
        if depth == 8 {
            return 0;
        }
        let inherited = holds(page, 0, depth);
        let below = child(|| {
            fill(page, 0, depth + 1);
            descend(page, depth + 1)
        });
        let end = below.wait();
        i32::from(!(inherited && end == End::Exit(0) && holds(page, 0, depth)))
    }
    let pages = map_pages(1);
    fill(&mut pages[0], 0, 0);
    assert_eq!(descend(&mut pages[0], 0), 0);
}

fn isolation() {
    let pages = map_pages(1);
    let children = [5, 6].map(|value| {
        child(|| {
            pages[0][0] = value;
            for _ in 0..50 {
                std::thread::yield_now();
                if pages[0][0] != value {
                    return 1;
                }
            }
            0
        })
    });
    for child in children {
        assert_eq!(child.wait(), End::Exit(0));
    }
    assert_eq!(pages[0][0], 0);
}

fn wild_access() {
    let bystander = child(|| {
        super::os::sleep_ms(30);
        7
    });
    let wild = child(|| {
        // SAFETY: none; the access is meant to end this process.
        unsafe { ptr::without_provenance_mut::<u8>(0x10).write_volatile(1) };
        0
    });
    assert_eq!(wild.wait(), End::Signal(libc::SIGSEGV));
    assert_eq!(bystander.wait(), End::Exit(7));
}

fn ends() {
    for status in [0, 1, 77, 255] {
        assert_eq!(child(|| status).wait(), End::Exit(status));
    }
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGUSR1] {
        let sleeper = child(|| {
            loop {
                super::os::sleep_ms(1000);
            }
        });
        sleeper.kill(signal);
        assert_eq!(sleeper.wait(), End::Signal(signal));
    }
}

fn no_child() {
    assert_eq!(wait(-1, 0), Err(libc::ECHILD));
    let other = child(|| 0);
    assert_eq!(wait(other.0 + 1, 0), Err(libc::ECHILD));
    other.wait();
}

fn zombie() {
    let (from_child, to_parent) = pipe();
    let forked = child(|| 3);
    close(to_parent);
    // The end of the child closes its end of the pipe.
    assert_eq!(read(from_child, &mut [0]), Ok(0));
    close(from_child);
    forked.kill(0);
    let id = forked.0;
    assert_eq!(forked.wait(), End::Exit(3));
    // SAFETY: signal 0 only asks.
    assert_eq!(super::os::result(unsafe { libc::kill(id, 0) }.into()), Err(libc::ESRCH));
}

fn orphans() {
    let (from_orphan, to_us) = pipe();
    let parent = child(|| {
        let own = std::process::id();
        match fork() {
            Fork::Parent(_) => 0,
            Fork::Child => {
                while std::os::unix::process::parent_id() == own {
                    super::os::sleep_ms(1);
                }
                write(to_us, b"adopted").unwrap();
                exit(0)
            }
        }
    });
    close(to_us);
    assert_eq!(parent.wait(), End::Exit(0));
    let mut word = [0; 7];
    assert_eq!(read(from_orphan, &mut word), Ok(7));
    close(from_orphan);
}

/// The arguments that make this program a child of [`exec`].
const STARTED: [&str; 3] = ["--started", "two words", ""];

/// The other program's side of [`exec`]: it was started with those arguments, and writes to descriptor 9.
pub fn is_started_by_a_check(arguments: &[String]) -> bool {
    if arguments.first().is_none_or(|first| first != STARTED[0]) {
        return false;
    }
    let right = arguments == STARTED
        && std::env::var("COLOUR").is_ok_and(|colour| colour == "blue")
        && std::env::var("PATH").is_err()
        && write(8, b"x") == Err(libc::EBADF);
    exit(if right && write(9, b"here") == Ok(4) { 21 } else { 22 })
}

/// Runs this program again with other arguments; returns errno.
fn run(path: &str, arguments: &[&str]) -> i32 {
    let strings = |strings: &[&str]| -> Vec<CString> {
        strings.iter().map(|string| CString::new(*string).unwrap()).collect()
    };
    let pointers = |strings: &[CString]| -> Vec<*const i8> {
        strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
    };
    let (path, arguments, environment) =
        (CString::new(path).unwrap(), strings(arguments), strings(&["COLOUR=blue"]));
    // SAFETY: the vectors end with a null pointer and live until the call returns, if it does.
    unsafe { libc::execve(path.as_ptr(), pointers(&arguments).as_ptr(), pointers(&environment).as_ptr()) };
    std::io::Error::last_os_error().raw_os_error().unwrap()
}

fn exec() {
    let (from_child, to_parent) = pipe();
    let forked = child(|| {
        // SAFETY: descriptors of ours.
        unsafe {
            libc::dup2(to_parent, 9);
            libc::dup3(to_parent, 8, libc::O_CLOEXEC);
        }
        let arguments: Vec<&str> = ["conform"].into_iter().chain(STARTED).collect();
        run("/proc/self/exe", &arguments)
    });
    close(to_parent);
    assert_eq!(forked.wait(), End::Exit(21));
    let mut word = [0; 8];
    assert_eq!(read(from_child, &mut word), Ok(4));
    assert_eq!(read(from_child, &mut word), Ok(0), "the child's end closed all ends but ours");
    close(from_child);
}

fn exec_fails() {
    assert_eq!(run("/no/such/program", &["x"]), libc::ENOENT);
    assert_eq!(run("/proc/self/maps", &["x"]), libc::EACCES);
    assert_eq!(run("/", &["x"]), libc::EACCES);
}

fn vfork() {
    // posix_spawn is a vfork with a stack of its own.
    let (from_child, to_parent) = pipe();
    let path = c"/proc/self/exe";
    let arguments: Vec<CString> =
        ["conform"].into_iter().chain(STARTED).map(|argument| CString::new(argument).unwrap()).collect();
    let pointers: Vec<_> =
        arguments.iter().map(|argument| argument.as_ptr().cast_mut()).chain([ptr::null_mut()]).collect();
    let environment = [c"COLOUR=blue".as_ptr().cast_mut(), ptr::null_mut()];
    let (mut id, mut unused) = (0, 0);
    // SAFETY: everything that the pointers lead to lives until the calls return.
    unsafe {
        let mut actions = std::mem::zeroed();
        libc::posix_spawn_file_actions_init(&raw mut actions);
        libc::posix_spawn_file_actions_adddup2(&raw mut actions, to_parent, 9);
        let spawned = libc::posix_spawn(
            &raw mut id,
            path.as_ptr(),
            &raw const actions,
            ptr::null(),
            pointers.as_ptr(),
            environment.as_ptr(),
        );
        assert_eq!(spawned, 0);
        libc::posix_spawn_file_actions_destroy(&raw mut actions);
        let missing = libc::posix_spawn(
            &raw mut unused,
            c"/no/such/program".as_ptr(),
            ptr::null(),
            ptr::null(),
            pointers.as_ptr(),
            environment.as_ptr(),
        );
        assert_eq!(missing, libc::ENOENT, "the child tells its parent through their memory");
    }
    close(to_parent);
    assert_eq!(wait(id, 0), Ok((id, End::Exit(21))));
    close(from_child);
}

fn parallel_sort() {
    const PARTS: usize = 4;
    const EACH: usize = 4096;
    let readers: Vec<_> = (0..PARTS)
        .map(|part| {
            let (from_child, to_parent) = pipe();
            let sorter = child(|| {
                let mut random = programs::Random::new(part as u64);
                let mut numbers: Vec<u64> = (0..EACH).map(|_| random.next()).collect();
                numbers.sort_unstable();
                let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
                let mut sent = 0;
                while sent < bytes.len() {
                    sent += write(to_parent, &bytes[sent..]).unwrap();
                }
                0
            });
            close(to_parent);
            (sorter, from_child)
        })
        .collect();
    let mut all = Vec::new();
    for (sorter, from_child) in readers {
        let mut bytes = Vec::new();
        let mut part = [0; 5000];
        loop {
            match read(from_child, &mut part).unwrap() {
                0 => break,
                count => bytes.extend_from_slice(&part[..count]),
            }
        }
        close(from_child);
        assert_eq!(sorter.wait(), End::Exit(0));
        let numbers: Vec<u64> =
            bytes.chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
        assert!(numbers.len() == EACH && numbers.is_sorted());
        all.extend(numbers);
    }
    assert_eq!(all.len(), PARTS * EACH);
}
