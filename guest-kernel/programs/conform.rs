//! What Linux promises about processes and memory, checked by a program: the same checks natively and in the guest.
//!
//! `conform` runs all checks, `conform NAME...` those whose names contain one of the words. Each prints its name and `ok`; the first
//! that finds something else ends the program with a message and status 101. The checks of mapped files want a file of theirs to be there:
//! `mapped.bin` in the working directory, of [`mapping::FILE_BYTES`].

// A check says with `unwrap` and `expect` what must hold.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "conform/file.rs"]
mod file;
#[path = "conform/mapping.rs"]
mod mapping;
#[path = "conform/pipe.rs"]
mod pipe;
#[path = "conform/process.rs"]
mod process;
#[path = "conform/signal.rs"]
mod signal;
#[path = "conform/thread.rs"]
mod thread;

use programs::os;

/// A check and its name.
type Check = (&'static str, fn());

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    if process::is_started_by_a_check(&words) {
        return;
    }
    let checks =
        [process::CHECKS, pipe::CHECKS, signal::CHECKS, thread::CHECKS, mapping::CHECKS, file::CHECKS];
    for (name, check) in checks.concat() {
        if words.is_empty() || words.iter().any(|word| name.contains(word.as_str())) {
            check();
            println!("{name}: ok");
        }
    }
}
