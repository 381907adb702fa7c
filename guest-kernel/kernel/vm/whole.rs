//! All of a process's anonymous pages at once, to swap and back.

use abi::addr::Gva;

use super::Memory;
use super::area::LOWEST;
use super::frame::Use;
use super::page::{Page, Rights};
use super::space::AddressSpace;
use super::table::USER_END;

impl Memory {
    /// How many pages of a space are on swap.
    #[must_use]
    pub fn swapped_pages(&self, space: &AddressSpace) -> u64 {
        let mut pages = 0;
        space.table.for_each(LOWEST..USER_END, |_, entry| {
            pages += u64::from(matches!(entry.load().page(), Page::Swapped(_)));
        });
        pages
    }

    /// How many resident pages nobody else maps and nothing locks.
    #[must_use]
    pub fn pages_of_its_own(&self, space: &AddressSpace) -> u64 {
        let mut pages = 0;
        space.table.for_each(LOWEST..USER_END, |_, entry| {
            let entry = entry.load();
            if let Page::Resident(gpa) = entry.page()
                && !entry.is_locked()
                && let Use::Anonymous { mappings, .. } = self.frames.get(self.frames.at(gpa))
            {
                pages += u64::from(mappings.single().is_some());
            }
        });
        pages
    }

    /// Sends a process's pages to swap. Returns whether any left.
    pub fn swap_out(&mut self, space: &AddressSpace) -> bool {
        let before = self.pages_of_its_own(space);
        self.page_out(space, &(LOWEST..USER_END));
        self.pages_of_its_own(space) < before
    }

    /// Brings a process's pages back from swap, as long as frames are free.
    pub fn swap_in(&mut self, space: &mut AddressSpace) {
        let mut at = LOWEST;
        while self.frames.free_frames() > 0 {
            let Some(page) = next_swapped(space, at) else { return };
            // What cannot be had now is had, or refused, when it is needed.
            let _ = self.fault(space, page, Rights::READ);
            at = page + abi::addr::PAGE_SIZE as u64;
        }
    }
}

fn next_swapped(space: &AddressSpace, from: Gva) -> Option<Gva> {
    let found = space.table.try_for_each(from..USER_END, |page, entry| match entry.load().page() {
        Page::Swapped(_) => Err(page),
        _ => Ok(()),
    });
    found.err()
}
