//! Signals, whose handler uses memory, too: pages of its own, and the stack.

use std::hint::black_box;
use std::mem::zeroed;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, Ordering::Relaxed};

use programs::{Page, fill, holds, map_pages};

use super::os;

/// Pages that the handler uses in turn.
const PAGES: usize = 16;

static START: AtomicPtr<Page> = AtomicPtr::new(ptr::null_mut());
static SIGNALS: AtomicU32 = AtomicU32::new(0);

/// From now on SIGUSR1 and SIGALRM are handled.
pub fn handle() {
    let pages = map_pages(PAGES);
    for (number, page) in pages.iter_mut().enumerate() {
        fill(page, number, 0);
    }
    START.store(pages.as_mut_ptr(), Relaxed);
    // SAFETY: all zeros is a value of it.
    let mut action: libc::sigaction = unsafe { zeroed() };
    action.sa_sigaction = use_memory as extern "C" fn(i32) as usize;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: the handler calls nothing that the program may be in the middle of, and no other interrupts it.
    unsafe {
        libc::sigfillset(&raw mut action.sa_mask);
        libc::sigaction(libc::SIGUSR1, &raw const action, ptr::null_mut());
        libc::sigaction(libc::SIGALRM, &raw const action, ptr::null_mut());
    }
}

/// The handler: each page holds the version of its last turn, and gets that of this one.
extern "C" fn use_memory(_: i32) {
    let count = SIGNALS.fetch_add(1, Relaxed) as usize;
    let (number, turn) = (count % PAGES, (count / PAGES) as u32);
    // SAFETY: `handle` has mapped so many pages, and only the handler uses them, one at a time.
    let page = unsafe { &mut *START.load(Relaxed).add(number) };
    let mut stack: Page = [0; size_of::<Page>() / 8];
    fill(black_box(&mut stack), number, turn);
    if !holds(page, number, turn) || *page != *black_box(&stack) {
        const MESSAGE: &[u8] = b"stress: a signal's handler has found a wrong page\n";
        let _ = os::write(2, MESSAGE.as_ptr().addr(), MESSAGE.len());
        os::exit(1);
    }
    fill(page, number, turn + 1);
}

/// SIGALRM comes after so many microseconds.
pub fn set_timer(microseconds: usize) {
    let time = libc::timeval { tv_sec: 0, tv_usec: microseconds as i64 };
    let timer = libc::itimerval { it_value: time, it_interval: libc::timeval { tv_sec: 0, tv_usec: 0 } };
    // SAFETY: the timer is ours to read.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) };
}

/// Sends SIGUSR1 to a child that nobody has waited for yet.
pub fn send(child: i32) {
    // SAFETY: a signal to a child of ours.
    unsafe { libc::kill(child, libc::SIGUSR1) };
}
