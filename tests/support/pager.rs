//! What tests of the pager share: how they end when something is wrong. Who waits for a page would wait for good.

use std::io::{self, Write};
use std::process::abort;
use std::sync::atomic::{AtomicBool, Ordering};

use bifold::pager::PagerError;

/// For a pager that is not to fail: says why it did, past the test runner, which keeps what is printed to itself, and
/// ends the process.
pub fn must_not_fail(error: PagerError) {
    let _ = writeln!(io::stderr(), "the pager failed: {error}");
    abort();
}

/// Ends the threads that go on until they are told, when it is dropped: a check that fails must not wait for them.
#[allow(dead_code, reason = "not every test has such threads")]
pub struct EndsThem<'a>(pub &'a AtomicBool);

impl Drop for EndsThem<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
