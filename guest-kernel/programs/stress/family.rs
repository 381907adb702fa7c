//! Forks. Private pages are the child's own from then on; the objects are for both, but not at once: the parent leaves them alone until
//! the child has ended.

use programs::Random;

use super::arena::View;
use super::os;
use super::worker::{Worker, Wrong};

/// Calls that a child makes, at most.
const CHILDS_CALLS: usize = 300;
/// Private pages that the parent stores to and checks while the child lives.
const PARENTS_PAGES: usize = 40;

impl Worker {
    /// Forks. The child checks what it has inherited, makes calls and ends; then the parent checks all that it has itself.
    pub fn fork(&mut self, most: usize) -> Result<(), Wrong> {
        let seed = self.random.next();
        let Some(child) = os::fork() else { self.live(seed, most) };
        self.count();
        for _ in 0..PARENTS_PAGES {
            self.use_private_page()?;
        }
        match os::wait(child, true) {
            Some((_, true)) => self.check_all(),
            _ => Err(Wrong("a child ended badly".to_owned())),
        }
    }

    /// A child's life.
    fn live(&mut self, seed: u64, most: usize) -> ! {
        self.random = Random::new(seed);
        self.options.forks = false;
        self.parents |= self.arena.objects();
        let calls = most.min(self.calls() + self.random.below(CHILDS_CALLS));
        let right = self.check_all().and_then(|()| self.steps(calls)).and_then(|()| self.check_all());
        os::exit(self.status(right))
    }

    fn use_private_page(&mut self) -> Result<(), Wrong> {
        let page = self.somewhere();
        if !self.arena.cell(page).is_some_and(|cell| matches!(cell.view, View::Anonymous { .. })) {
            return Ok(());
        }
        if self.random.below(2) == 0 && self.arena.is_writable(self.shared, page) {
            self.store(page);
        }
        if self.arena.is_readable(self.shared, page) { self.check(page) } else { Ok(()) }
    }
}
