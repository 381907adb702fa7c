//! madvise, and calls that ask and change nothing.

use libc::{
    MADV_COLD, MADV_DONTNEED, MADV_FREE, MADV_PAGEOUT, MADV_POPULATE_READ, MADV_POPULATE_WRITE, MADV_WILLNEED,
};
use std::ops::Range;

use super::arena::View;
use super::calls::MOST;
use super::os::{self, Answer};
use super::worker::{Worker, Wrong};

impl Worker {
    /// madvise.
    pub fn advise(&mut self) -> Result<(), Wrong> {
        let mut range = self.range(MOST);
        let advices = [
            MADV_DONTNEED,
            MADV_FREE,
            MADV_COLD,
            MADV_PAGEOUT,
            MADV_WILLNEED,
            MADV_POPULATE_READ,
            MADV_POPULATE_WRITE,
        ];
        let advice = advices[self.random.below(advices.len())];
        let want = match advice {
            MADV_FREE => self.free(&range),
            MADV_POPULATE_READ => range.clone().try_fold(0, |_, page| self.populated(page, advice)),
            // What comes before a page that cannot be had may be copied already, or not.
            MADV_POPULATE_WRITE => {
                let good = range.clone().take_while(|&page| self.populated(page, advice).is_ok()).count();
                range.end = range.start + good.max(1);
                self.populated(range.start, advice)
            }
            _ => self.covered(&range),
        };
        let got = loop {
            let got = os::advise(self.arena.address(range.start), range.len(), advice);
            if got != Err(libc::EINTR) {
                break got;
            }
        };
        self.expect(format_args!("madvise {advice} of {range:?}"), got, want)?;
        match advice {
            MADV_DONTNEED => self.arena.cells_mut(&range).for_each(|cell| match &mut cell.view {
                View::Shared { .. } => {}
                view => *view = view.further(0),
            }),
            MADV_POPULATE_WRITE if want.is_ok() => range.for_each(|page| self.copied(page)),
            _ => {}
        }
        Ok(())
    }

    /// What a call answers that wants all pages of a range to be mapped.
    fn covered(&self, range: &Range<usize>) -> Answer {
        if self.arena.hole(range).is_none() { Ok(0) } else { Err(libc::ENOMEM) }
    }

    /// MADV_FREE: the pages up to the first that is not private memory may be taken.
    fn free(&mut self, range: &Range<usize>) -> Answer {
        let want = self.covered(range);
        for cell in self.arena.cells_mut(range) {
            let View::Anonymous { free, .. } = &mut cell.view else { return Err(libc::EINVAL) };
            *free = true;
        }
        want
    }

    /// Whether a page can be had ahead of need.
    fn populated(&self, page: usize, advice: i32) -> Answer {
        let Some(cell) = self.arena.cell(page) else { return Err(libc::ENOMEM) };
        let needed = if advice == MADV_POPULATE_WRITE { libc::PROT_WRITE } else { libc::PROT_READ };
        if cell.rights & needed == 0 {
            return Err(libc::EINVAL);
        }
        self.arena.content(self.shared, page).map_or(Err(libc::EFAULT), |_| Ok(0))
    }

    /// A private page of a file is this process's own from now on.
    fn copied(&mut self, page: usize) {
        if let Some(View::Copy { .. }) = self.arena.cell(page).map(|cell| cell.view)
            && let Some(content) = self.arena.content(self.shared, page)
        {
            self.arena.set(self.shared, page, content);
        }
    }

    /// msync or mincore.
    pub fn ask(&mut self) -> Result<(), Wrong> {
        let range = self.range(MOST);
        let start = self.arena.address(range.start);
        let want = self.covered(&range);
        if self.random.below(2) == 0 {
            let got = os::in_core(start, range.len(), &mut [0; MOST]);
            return self.expect(format_args!("mincore of {range:?}"), got, want);
        }
        let flags = [libc::MS_SYNC, libc::MS_ASYNC, libc::MS_SYNC | libc::MS_INVALIDATE];
        let got = os::sync(start, range.len(), flags[self.random.below(flags.len())]);
        self.expect(format_args!("msync of {range:?}"), got, want)
    }
}
