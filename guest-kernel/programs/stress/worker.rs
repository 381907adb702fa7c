//! One process: calls, and between them stores to pages and checks of what they hold.

use std::fmt::Display;
use std::sync::atomic::Ordering::Relaxed;

use programs::Random;

use super::Options;
use super::arena::{Arena, View};
use super::content::Content;
use super::objects::{FILES, Shared};
use super::os::{self, Answer};
use super::signals;

/// Pages that are stored to between two calls, and that are checked.
const PAGES_A_CALL: usize = 4;
/// So many steps from one check of everything to the next, on average.
const STEPS_A_CHECK: usize = 1000;
/// From one fork to the next.
const STEPS_A_FORK: usize = 500;
/// From one timer to the next.
const STEPS_A_TIMER: usize = 200;

/// Something is not as it should be.
pub struct Wrong(pub String);

/// A process and what it knows of its memory.
pub struct Worker {
    pub options: Options,
    pub random: Random,
    pub arena: Arena,
    pub shared: &'static Shared,
    /// The objects that its parent uses, a bit for each.
    pub parents: u32,
    /// Descriptors of the objects that are files.
    pub files: [i32; FILES],
    /// A pipe's ends: to read, to write.
    pub pipe: (i32, i32),
    /// /dev/zero.
    pub zero: i32,
    number: usize,
    name: String,
}

impl Worker {
    /// The process with this number. It lives as long as the program, and nobody allocates after this.
    pub fn new(options: Options, number: usize) -> Self {
        Self {
            options,
            random: Random::new(options.seed.wrapping_add(number as u64) << 20),
            shared: Shared::new(),
            parents: 0,
            files: std::array::from_fn(|file| match options.file {
                Some(path) if (number, file) == (0, 0) => os::open_empty(path),
                _ => os::memory_file(),
            }),
            pipe: os::pipe(),
            zero: os::open("/dev/zero"),
            number,
            name: format!("seed {}, process {number}", options.seed),
            arena: Arena::new(options.pages),
        }
    }

    /// Makes this process's part of the calls. Returns its exit status.
    pub fn run(mut self) -> i32 {
        let share = self.options.calls.div_ceil(self.options.processes);
        let right = self.work(share);
        self.status(right)
    }

    fn work(&mut self, calls: usize) -> Result<(), Wrong> {
        self.fill()?;
        self.steps(calls)?;
        self.check_all()?;
        self.unmap_all()
    }

    /// Says what is wrong, if anything is.
    pub fn status(&self, right: Result<(), Wrong>) -> i32 {
        let Err(Wrong(what)) = right else { return 0 };
        // At once, as others may say the same at the same time.
        let message = format!("stress: {}, call {}: {what}\n", self.name, self.calls());
        let _ = os::write(2, message.as_ptr().addr(), message.len());
        1
    }

    /// Works until so many calls have been made.
    pub fn steps(&mut self, calls: usize) -> Result<(), Wrong> {
        while self.calls() < calls {
            self.call()?;
            for _ in 0..PAGES_A_CALL {
                self.store_somewhere();
                self.check_somewhere()?;
            }
            if self.random.below(STEPS_A_CHECK) == 0 {
                self.check_all()?;
            }
            if self.options.forks && self.random.below(STEPS_A_FORK) == 0 {
                self.fork(calls)?;
            }
            if self.options.signals && self.random.below(STEPS_A_TIMER) == 0 {
                signals::set_timer(self.random.below(3000));
            }
        }
        Ok(())
    }

    /// Calls made, by children too.
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Relaxed) as usize
    }

    /// A call was made.
    pub fn count(&self) {
        self.shared.calls.fetch_add(1, Relaxed);
    }

    /// A call was made: this is what it answered, and what it should have.
    pub fn expect(&self, call: impl Display, got: Answer, want: Answer) -> Result<(), Wrong> {
        self.count();
        if got == want { Ok(()) } else { Err(Wrong(format!("{call} answered {got:?} and not {want:?}"))) }
    }

    /// A page of the arena or the heap.
    pub fn somewhere(&mut self) -> usize {
        self.random.below(self.arena.all().end)
    }

    fn store_somewhere(&mut self) {
        let page = self.somewhere();
        if self.arena.is_writable(self.shared, page) {
            self.store(page);
        }
    }

    /// Fills a page that can be stored to.
    pub fn store(&mut self, page: usize) {
        let content = self.shared.fresh();
        self.arena.write(page, &content.page(self.number));
        self.arena.set(self.shared, page, content);
    }

    fn check_somewhere(&mut self) -> Result<(), Wrong> {
        let page = self.somewhere();
        if self.arena.is_readable(self.shared, page) {
            self.check(page)
        } else if self.random.below(4) == 0 {
            self.refused(page)
        } else {
            Ok(())
        }
    }

    /// Checks every page that can be loaded from.
    pub fn check_all(&mut self) -> Result<(), Wrong> {
        for page in self.arena.all() {
            if self.arena.is_readable(self.shared, page) {
                self.check(page)?;
            }
        }
        Ok(())
    }

    /// Checks a page that can be loaded from.
    pub fn check(&mut self, page: usize) -> Result<(), Wrong> {
        let Some(wanted) = self.arena.content(self.shared, page) else { return Ok(()) };
        let found = self.arena.read(page);
        if wanted.is_in(&found, self.number) {
            return Ok(());
        }
        let free =
            self.arena.cell(page).is_some_and(|cell| matches!(cell.view, View::Anonymous { free: true, .. }));
        if free && wanted.was_in(&found, self.number) {
            // It was taken, before or while it was read.
            self.arena.set(self.shared, page, Content::ZEROS);
            return Ok(());
        }
        let right = wanted.page(self.number);
        let at = (0..right.len()).find(|&at| right[at] != found[at]).unwrap_or(0);
        Err(Wrong(format!(
            "page {page} at {:#x}, {:?}, has {:#x} as word {at} and not {:#x} of {wanted:?}",
            self.arena.address(page),
            self.arena.cell(page),
            found[at],
            right[at],
        )))
    }

    /// A page that may not be used is refused: the kernel, too, does not use it for the program.
    fn refused(&mut self, page: usize) -> Result<(), Wrong> {
        let start = self.arena.address(page);
        let what = format_args!("page {page}, {:?},", self.arena.cell(page));
        self.expect(format_args!("write from {what}"), os::write(self.pipe.1, start, 1), Err(libc::EFAULT))?;
        self.expect(format_args!("read to {what}"), os::read(self.zero, start, 1), Err(libc::EFAULT))
    }

    fn unmap_all(&mut self) -> Result<(), Wrong> {
        self.set_break(0)?;
        self.expect("munmap of all", os::unmap(self.arena.address(0), self.arena.len), Ok(0))
    }
}
