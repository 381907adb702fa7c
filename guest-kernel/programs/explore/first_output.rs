//! `first-output PROGRAM`: how long a program takes to its first byte of output, and what it loaded for that.

use std::ffi::CString;
use std::ptr;
use std::time::Instant;

use programs::{fail, os};

use super::proc;
use super::record::record;

pub fn run(path: &str) {
    let Ok(name) = CString::new(path) else { fail("a NUL in the path") };
    let words = [name.as_ptr(), ptr::null()];
    let (from, to) = os::pipe();
    let (before, start) = (kib_read(), Instant::now());
    let child = os::child(|| {
        // SAFETY: the strings are there until the call; descriptor 1 is ours to replace.
        unsafe {
            libc::dup2(to, 1);
            libc::execv(name.as_ptr(), words.as_ptr());
        }
        127
    });
    os::close(to);
    let got = os::read(from, &mut [0]);
    let ns = start.elapsed().as_nanos();
    if got != Ok(1) {
        fail(format!("{path} printed nothing: {:?}", child.wait()));
    }
    child.wait();
    record!("started", pages_read = (kib_read() - before) / 4, ns = ns);
}

/// What was read from disks, by anyone.
fn kib_read() -> i64 {
    proc::value("/proc/vmstat", "pgpgin")
}
