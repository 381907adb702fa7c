//! Signals and timers.

use std::mem;
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use programs::{PAGE, map_pages};

use super::Check;
use super::os::{End, child, exit, result, sleep_ms};

pub const CHECKS: &[Check] = &[
    ("a handler runs and the program goes on with every register", handled),
    ("a handler is told where a fault was", fault_address),
    ("a handler that maps the page lets the access succeed", fault_is_mended),
    ("a blocked signal comes when it is let", blocked),
    ("an ignored signal does nothing", ignored),
    ("a handler runs on its own stack when the program's is at its end", alternate_stack),
    ("a parent is told of its child's end", child_ended),
    ("an alarm interrupts a wait, and comes again if it should", alarms),
    ("a sleep that a signal ends tells how much of it is left", interrupted_sleep),
    ("a read goes on after a handler that restarts calls, and fails after another", restart),
    ("a signal to a group reaches all of it", group),
    ("time passes while a process sleeps", sleeping),
];

static LAST: AtomicI32 = AtomicI32::new(0);
static COUNT: AtomicI32 = AtomicI32::new(0);
static ADDRESS: AtomicU64 = AtomicU64::new(0);

type Handler = extern "C" fn(i32, *mut libc::siginfo_t, *mut libc::c_void);

extern "C" fn note(signal: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    LAST.store(signal, Ordering::Relaxed);
    COUNT.fetch_add(1, Ordering::Relaxed);
    if signal == libc::SIGSEGV {
        // SAFETY: the kernel filled it in for this signal.
        ADDRESS.store(unsafe { (*info).si_addr() } as u64, Ordering::Relaxed);
    }
}

/// Sets a handler for a signal and forgets what the one before noted.
fn handle(signal: i32, handler: Handler, flags: i32) {
    LAST.store(0, Ordering::Relaxed);
    COUNT.store(0, Ordering::Relaxed);
    // SAFETY: all zeros is a value of it; the handler does what a handler may.
    unsafe {
        let mut action: libc::sigaction = mem::zeroed();
        action.sa_sigaction = handler as usize;
        action.sa_flags = libc::SA_SIGINFO | flags;
        assert_eq!(libc::sigaction(signal, &raw const action, ptr::null_mut()), 0);
    }
}

fn raise(signal: i32) {
    // SAFETY: a signal with a handler, or one that is meant to end the process.
    assert_eq!(unsafe { libc::raise(signal) }, 0);
}

fn last() -> i32 {
    LAST.swap(0, Ordering::Relaxed)
}

fn handled() {
    handle(libc::SIGUSR1, note, 0);
    let mut sum = 0.0_f64;
    for n in 0..10 {
        sum += f64::from(n) / 3.0;
        raise(libc::SIGUSR1);
        assert_eq!(last(), libc::SIGUSR1);
    }
    assert_eq!(sum, (0..10).fold(0.0, |sum, n| sum + f64::from(n) / 3.0));
}

fn fault_address() {
    let faulting = child(|| {
        extern "C" fn tell(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
            // SAFETY: the kernel filled it in for this signal.
            exit(if unsafe { (*info).si_addr() } as u64 == 0x1238 { 5 } else { 6 })
        }
        handle(libc::SIGSEGV, tell, 0);
        // SAFETY: none; the access is meant to fault.
        unsafe { ptr::without_provenance_mut::<u64>(0x1238).write_volatile(1) };
        7
    });
    assert_eq!(faulting.wait(), End::Exit(5));
}

fn fault_is_mended() {
    let mending = child(|| {
        extern "C" fn mend(_: i32, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
            // SAFETY: the fault was in a page of ours.
            unsafe {
                let page = ((*info).si_addr() as usize & !(PAGE - 1)) as *mut libc::c_void;
                libc::mprotect(page, PAGE, libc::PROT_READ | libc::PROT_WRITE);
            }
            COUNT.fetch_add(1, Ordering::Relaxed);
        }
        let pages = map_pages(3);
        // SAFETY: the pages are ours; whoever touches them mends that.
        unsafe { libc::mprotect(pages.as_mut_ptr().cast(), 3 * PAGE, libc::PROT_NONE) };
        handle(libc::SIGSEGV, mend, 0);
        pages.iter_mut().for_each(|page| page[7] = 9);
        i32::from(!(COUNT.load(Ordering::Relaxed) == 3 && pages.iter().all(|page| page[7] == 9)))
    });
    assert_eq!(mending.wait(), End::Exit(0));
}

fn change_mask(how: i32, signal: i32) {
    // SAFETY: all zeros is a value of it.
    unsafe {
        let mut set = mem::zeroed();
        libc::sigemptyset(&raw mut set);
        libc::sigaddset(&raw mut set, signal);
        assert_eq!(libc::sigprocmask(how, &raw const set, ptr::null_mut()), 0);
    }
}

fn blocked() {
    handle(libc::SIGUSR2, note, 0);
    change_mask(libc::SIG_BLOCK, libc::SIGUSR2);
    raise(libc::SIGUSR2);
    raise(libc::SIGUSR2);
    assert_eq!(last(), 0);
    change_mask(libc::SIG_UNBLOCK, libc::SIGUSR2);
    assert_eq!((last(), COUNT.load(Ordering::Relaxed)), (libc::SIGUSR2, 1), "two of a kind are one");
}

fn ignored() {
    let deaf = child(|| {
        // SAFETY: no handler.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        raise(libc::SIGTERM);
        4
    });
    assert_eq!(deaf.wait(), End::Exit(4));
}

fn alternate_stack() {
    #[allow(unconditional_recursion)]
    fn deep(n: u64) -> u64 {
        std::hint::black_box([n; 512]);
        deep(n + 1) + 1
    }
    let overflowing = child(|| {
        extern "C" fn escape(_: i32, _: *mut libc::siginfo_t, _: *mut libc::c_void) {
            exit(8)
        }
        let stack = map_pages(16);
        let there = libc::stack_t { ss_sp: stack.as_mut_ptr().cast(), ss_flags: 0, ss_size: 16 * PAGE };
        // SAFETY: the pages are the stack's alone from now on.
        assert_eq!(unsafe { libc::sigaltstack(&raw const there, ptr::null_mut()) }, 0);
        handle(libc::SIGSEGV, escape, libc::SA_ONSTACK);
        deep(0) as i32
    });
    assert_eq!(overflowing.wait(), End::Exit(8));
}

fn child_ended() {
    handle(libc::SIGCHLD, note, 0);
    let brief = child(|| 0);
    while last() != libc::SIGCHLD {
        std::thread::yield_now();
    }
    assert_eq!(brief.wait(), End::Exit(0));
    // SAFETY: the default action.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

fn set_timer(first_ms: i64, again_ms: i64) {
    let time = |ms: i64| libc::timeval { tv_sec: ms / 1000, tv_usec: ms % 1000 * 1000 };
    let timer = libc::itimerval { it_value: time(first_ms), it_interval: time(again_ms) };
    // SAFETY: the timer is ours to read.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) }, 0);
}

fn alarms() {
    handle(libc::SIGALRM, note, libc::SA_RESTART);
    let start = Instant::now();
    set_timer(20, 20);
    while COUNT.load(Ordering::Relaxed) < 3 {
        // SAFETY: waits for a signal. It returns after any handler, whatever that one's flags are.
        unsafe { libc::pause() };
    }
    assert!(start.elapsed() >= Duration::from_millis(60));
    set_timer(0, 0);
    let before = COUNT.load(Ordering::Relaxed);
    sleep_ms(50);
    assert!(COUNT.load(Ordering::Relaxed) <= before + 1, "no alarm is left");
}

fn interrupted_sleep() {
    handle(libc::SIGALRM, note, libc::SA_RESTART);
    set_timer(20, 0);
    let asked = libc::timespec { tv_sec: 5, tv_nsec: 0 };
    let mut left = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both times are ours.
    let slept = unsafe { libc::nanosleep(&raw const asked, &raw mut left) };
    assert_eq!((slept, last()), (-1, libc::SIGALRM));
    assert!(left.tv_sec == 4, "{} s left of 5", left.tv_sec);
}

fn restart() {
    for (flags, expected) in [(libc::SA_RESTART, Ok(1)), (0, Err(libc::EINTR))] {
        handle(libc::SIGALRM, note, flags);
        let (reader, writer) = super::os::pipe();
        let late = child(|| {
            sleep_ms(100);
            super::os::write(writer, b"x").map_or(1, |_| 0)
        });
        set_timer(20, 0);
        assert_eq!(super::os::read(reader, &mut [0]), expected);
        assert_eq!(last(), libc::SIGALRM);
        assert_eq!(late.wait(), End::Exit(0));
        super::os::close(reader);
        super::os::close(writer);
    }
}

fn group() {
    let leader = child(|| {
        // SAFETY: the call has no arguments that could be wrong.
        assert_eq!(unsafe { libc::setpgid(0, 0) }, 0);
        let members: Vec<_> = (0..3)
            .map(|_| {
                child(|| {
                    loop {
                        sleep_ms(1000);
                    }
                })
            })
            .collect();
        // SAFETY: no handler, and not for the leader.
        unsafe { libc::signal(libc::SIGTERM, libc::SIG_IGN) };
        // SAFETY: a signal to our own group.
        assert_eq!(result(unsafe { libc::kill(0, libc::SIGTERM) }.into()), Ok(0));
        i32::from(!members.into_iter().all(|member| member.wait() == End::Signal(libc::SIGTERM)))
    });
    assert_eq!(leader.wait(), End::Exit(0));
}

fn sleeping() {
    let start = Instant::now();
    let children: Vec<_> = (0..4)
        .map(|_| {
            child(|| {
                sleep_ms(50);
                0
            })
        })
        .collect();
    children.into_iter().for_each(|child| assert_eq!(child.wait(), End::Exit(0)));
    assert!(start.elapsed() >= Duration::from_millis(50));
}
