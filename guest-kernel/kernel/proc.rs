//! What /proc tells.

use alloc::vec::Vec;
use core::fmt::{self, Write};

use abi::addr::PAGE_SIZE;

use crate::fs::FileId;
use crate::vm::Memory;
use crate::vm::area::{Backing, Kind};
use crate::vm::page::Rights;
use crate::vm::space::AddressSpace;

/// Text that grows.
struct Text(Vec<u8>);

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A file's path as /proc tells it.
fn path(memory: &Memory, file: FileId) -> &str {
    if file.memory_number().is_some() { "/dev/zero (deleted)" } else { memory.files.path(file) }
}

/// /proc/self/maps (proc_pid_maps(5)).
#[must_use]
pub fn maps(memory: &Memory, space: &AddressSpace) -> Vec<u8> {
    let mut text = Text(Vec::new());
    for area in space.areas.all() {
        let letter = |right, letter| if area.rights.allow(right) { letter } else { '-' };
        let (offset, inode, name) = match (area.kind, area.backing) {
            (_, Backing::File { file, page, .. }) => {
                (u64::from(page) * PAGE_SIZE as u64, 1000 + u64::from(file.0), path(memory, file))
            }
            (Kind::Heap, _) => (0, 0, "[heap]"),
            (Kind::Stack, _) => (0, 0, "[stack]"),
            (Kind::Mapping, _) => (0, 0, ""),
        };
        let rights = [letter(Rights::READ, 'r'), letter(Rights::WRITE, 'w'), letter(Rights::EXECUTE, 'x')];
        // Writing to a text cannot fail.
        let _ = writeln!(
            text,
            "{:08x}-{:08x} {}{}{}{} {offset:08x} 00:01 {inode:<26}{name}",
            area.start.0,
            area.end.0,
            rights[0],
            rights[1],
            rights[2],
            if area.is_shared() { 's' } else { 'p' }
        );
    }
    text.0
}
