//! What a page should hold, and whether it does.

use programs::{PAGE, Page, words};

/// Words in a page.
const WORDS: usize = PAGE / 8;

/// The first words of a version, and zeros after them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Content {
    version: u32,
    words: u32,
}

impl Content {
    /// A page that nobody wrote.
    pub const ZEROS: Self = Self { version: 0, words: 0 };

    /// All words of a version.
    pub const fn of(version: u32) -> Self {
        Self { version, words: WORDS as u32 }
    }

    /// The same with zeros from one byte on.
    pub fn cut(self, bytes: usize) -> Self {
        let words = self.words.min((bytes / 8) as u32);
        if words == 0 { Self::ZEROS } else { Self { words, ..self } }
    }

    /// As a number, which is 0 for zeros.
    pub const fn raw(self) -> u64 {
        self.version as u64 | (self.words as u64) << 32
    }

    /// The reverse of [`Content::raw`].
    pub const fn from_raw(raw: u64) -> Self {
        Self { version: raw as u32, words: (raw >> 32) as u32 }
    }

    /// Whether a page holds this; `owner` is the number that its pages were filled with.
    pub fn is_in(self, page: &Page, owner: usize) -> bool {
        self.begins(page, owner) == Some(self.words)
    }

    /// Whether a page holds this, or so much of it as was read before the rest became zeros.
    pub fn was_in(self, page: &Page, owner: usize) -> bool {
        self.begins(page, owner).is_some()
    }

    /// How many words of this a page begins with, if all others are zeros.
    fn begins(self, page: &Page, owner: usize) -> Option<u32> {
        let mut version = words(owner, self.version);
        let mine = page.iter().take(self.words as usize);
        let same = mine.take_while(|word| **word == version.next()).count();
        page[same..].iter().all(|word| *word == 0).then_some(same as u32)
    }

    /// The page itself.
    pub fn page(self, owner: usize) -> Page {
        let mut version = words(owner, self.version);
        std::array::from_fn(|at| if at < self.words as usize { version.next() } else { 0 })
    }
}
