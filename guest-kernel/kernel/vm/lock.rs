//! Pages that stay in RAM: mlock and its relatives.
//!
//! An area says that its pages are locked, and so does each resident page's entry, which is what reclaim asks.

use core::ops::Range;

use abi::addr::Gva;

use super::Memory;
use super::area::TooMany;
use super::fault::Invalid;
use super::page::Rights;
use super::space::AddressSpace;

impl Memory {
    /// Keeps the pages of a range that areas cover in RAM from the moment when they come there, or no longer.
    ///
    /// # Errors
    /// An area would be split, and there are too many.
    pub fn set_locked(
        &mut self,
        space: &mut AddressSpace,
        range: &Range<Gva>,
        locked: bool,
    ) -> Result<(), TooMany> {
        space.areas.reserve()?;
        space.areas.change(range, |area| area.locked = locked);
        self.lock_huge(space, range, locked);
        space.table.for_each(range.clone(), |_, reference| {
            let entry = reference.load();
            if entry.is_resident() {
                reference.store(if locked { entry.locked() } else { entry.unlocked() });
            }
        });
        Ok(())
    }

    /// Brings the pages of locked areas of a range into RAM, as the program would by using them.
    ///
    /// # Errors
    /// The first page that cannot be had.
    pub fn bring_in_locked(&mut self, space: &mut AddressSpace, range: &Range<Gva>) -> Result<(), Invalid> {
        let mut at = range.start;
        while let Some(area) = space.areas.next(at).copied()
            && area.start < range.end
        {
            let part = area.start.max(at)..area.end.min(range.end);
            at = part.end;
            if area.locked && area.rights.any() {
                // What is written to later must not need a copy then.
                let writes = area.rights.allow(Rights::WRITE) && !area.is_shared();
                self.populate(space, &part, if writes { Rights::WRITE } else { Rights::READ }, false)?;
            }
        }
        // Pages that were mapped beside those asked for.
        for area in space.areas.within(range).filter(|area| area.locked) {
            space.table.for_each(area.start..area.end, |_, reference| {
                if reference.load().is_resident() {
                    reference.store(reference.load().locked());
                }
            });
        }
        Ok(())
    }

    /// How many pages of an address space are in areas that are locked.
    #[must_use]
    pub fn locked_pages(space: &AddressSpace) -> u64 {
        let locked = space.areas.all().iter().filter(|area| area.locked);
        locked.map(|area| (area.end - area.start) / abi::addr::PAGE_SIZE as u64).sum()
    }
}
