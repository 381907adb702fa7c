//! Traditional swapping: a process is in RAM whole, or on swap whole. Before one runs that is on swap, the others that have waited longest
//! leave to make room, and all of its pages come back. While it runs alone and grows beyond RAM, it pages as ever.

use super::tasks::Tasks;
use crate::vm::Memory;

/// A process keeps the CPU for so many slices, because bringing one back costs so much.
pub const SLICES: u64 = 10;

/// Brings the running process back.
pub fn bring_in(tasks: &mut Tasks, memory: &mut Memory) {
    let wanted = memory.swapped_pages(&tasks.space);
    if wanted == 0 {
        return;
    }
    while u64::from(memory.frames.free_frames()) < wanted {
        let Some(space) = tasks.others.waiting_longest(memory) else { break };
        if !memory.swap_out(space) {
            break;
        }
    }
    memory.swap_in(&mut tasks.space);
    memory.stats.swapped_whole += 1;
}
