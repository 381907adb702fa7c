//! OPT (Belady, "A Study of Replacement Algorithms for a Virtual-Storage Computer", 1966): the page that will not be
//! used for the longest time goes. No policy has fewer faults.

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;

use super::{Reference, Tally};

const NEVER: u32 = u32::MAX;

/// When the page of each reference is used next. It is the same for every number of frames.
#[derive(Debug)]
pub struct NextUses(Vec<u32>);

impl NextUses {
    /// Of at most `u32::MAX` references to pages 0 to `pages` - 1.
    #[must_use]
    pub fn of(pages: u32, references: &[Reference]) -> Self {
        let mut next_uses = vec![NEVER; references.len()];
        let mut seen = vec![NEVER; pages as usize];
        for (index, reference) in references.iter().enumerate().rev() {
            next_uses[index] = core::mem::replace(&mut seen[reference.page() as usize], index as u32);
        }
        Self(next_uses)
    }
}

/// What `references` to pages 0 to `pages` - 1 cost with `frames` frames, at least 1.
#[must_use]
pub fn opt(frames: u32, pages: u32, references: &[Reference], next_uses: &NextUses) -> Tally {
    let frames = frames.min(pages).max(1) as usize;
    let mut tally = Tally::default();
    let mut resident = vec![false; pages as usize];
    let mut dirty = vec![false; pages as usize];
    let mut count = 0;
    // Next use and page, the latest first. A page that was used meanwhile has a stale entry, too, whose time has
    // passed; those of resident pages are all to come, so the first entry is always one of these.
    let mut latest = BinaryHeap::with_capacity(2 * frames);
    for (now, (reference, &next)) in references.iter().zip(&next_uses.0).enumerate() {
        let page = reference.page();
        if !resident[page as usize] {
            tally.faults += 1;
            if count < frames {
                count += 1;
            } else if let Some((_, victim)) = latest.pop() {
                let victim: u32 = victim;
                resident[victim as usize] = false;
                tally.writes += u64::from(core::mem::take(&mut dirty[victim as usize]));
            }
            resident[page as usize] = true;
        }
        if latest.len() == 2 * frames {
            latest.retain(|&(next, _)| next as usize > now);
        }
        latest.push((next, page));
        dirty[page as usize] |= reference.is_write();
    }
    tally
}
