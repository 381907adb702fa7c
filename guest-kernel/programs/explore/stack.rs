//! `stack`: touches the stack ever further down, each time in a process of its own.

use programs::{PAGE, os};

use super::proc::{PageMap, areas};
use super::record::record;

pub fn run() {
    let (pages, frames) = stack();
    record!("touch", below = 0, pages = pages, frames = frames, ended = "it goes on");
    for kib in [4usize, 64, 1 << 10, 7 << 10, 9 << 10, 16 << 10] {
        let (from, to) = os::pipe();
        let child = os::child(|| {
            // SAFETY: the default disposition runs no code of this program.
            unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
            touch(kib << 10);
            let (pages, frames) = stack();
            let _ = os::write(to, [pages, frames].map(u64::to_le_bytes).as_flattened());
            0
        });
        os::close(to);
        let mut words = [[0; 8]; 2];
        let _ = os::read(from, words.as_flattened_mut());
        let [pages, frames] = words.map(u64::from_le_bytes);
        os::close(from);
        let end = child.wait();
        let ended = if end == os::End::Exit(0) { "it goes on".to_owned() } else { end.to_string() };
        record!("touch", below = kib << 10, pages = pages, frames = frames, ended = ended);
    }
}

/// Writes a byte so far below the stack pointer.
fn touch(below: usize) {
    // SAFETY: below the red zone is nothing of the program.
    unsafe { core::arch::asm!("neg {0}", "mov byte ptr [rsp + {0} - 256], 1", inout(reg) below => _) };
}

/// The pages of the stack's area, and how many of them have frames.
fn stack() -> (u64, u64) {
    let map = PageMap::open();
    let (mut pages, mut frames) = (0, 0);
    for area in areas().iter().filter(|area| area.name == "[stack]") {
        map.for_each(area.start, area.pages(), |_, entry| frames += u64::from(entry.is_present()));
        pages += ((area.end - area.start) / PAGE) as u64;
    }
    (pages, frames)
}
