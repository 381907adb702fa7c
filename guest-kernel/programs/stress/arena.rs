//! The model: what each page that a process may have mapped is. The pages of the arena lie at fixed addresses, on both sides of a
//! border between page tables; the pages of the heap follow them in number.

use std::ops::Range;

use programs::{PAGE, Page};

use super::content::Content;
use super::objects::Shared;
use super::os;

/// The middle of the arena: tables of all levels but the top one end here.
const MIDDLE: usize = 64 << 30;
/// Pages of the heap.
pub const HEAP: usize = 32;

/// What a page shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum View {
    /// Private memory. Zeros are right, too, once it is free to be taken (MADV_FREE).
    Anonymous { content: Content, free: bool },
    /// A page of an object, and what this process wrote over it, with the cuts that the page had then.
    Copy { object: usize, page: usize, own: Option<(Content, u32)> },
    /// A page of an object.
    Shared { object: usize, page: usize },
}

impl View {
    /// Private memory of zeros.
    pub const ZEROS: Self = Self::Anonymous { content: Content::ZEROS, free: false };

    /// The view so many pages further on, where nobody has written yet.
    pub fn further(self, pages: usize) -> Self {
        match self {
            Self::Anonymous { .. } => Self::ZEROS,
            Self::Copy { object, page, .. } => Self::Copy { object, page: page + pages, own: None },
            Self::Shared { object, page } => Self::Shared { object, page: page + pages },
        }
    }

    /// The object that it shows.
    pub const fn object(self) -> Option<usize> {
        match self {
            Self::Anonymous { .. } => None,
            Self::Copy { object, .. } | Self::Shared { object, .. } => Some(object),
        }
    }
}

/// A page that is mapped.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// PROT_ bits.
    pub rights: i32,
    /// Which call mapped it: pages of different ones may lie in different areas though they are alike.
    pub mapping: u64,
    pub view: View,
}

/// All pages, by number.
pub struct Arena {
    cells: Vec<Option<Cell>>,
    /// Pages of the arena itself.
    pub len: usize,
    start: usize,
    heap: usize,
    mappings: u64,
}

impl Arena {
    /// Of `len` pages, and a heap, which begins where the process's own ends: nobody may allocate from now on.
    pub fn new(len: usize) -> Self {
        let cells = vec![None; len + HEAP];
        let heap = os::set_break(0).next_multiple_of(PAGE);
        os::set_break(heap);
        Self { cells, len, start: MIDDLE - len / 2 * PAGE, heap, mappings: 0 }
    }

    /// All pages, the heap's too.
    pub fn all(&self) -> Range<usize> {
        0..self.cells.len()
    }

    /// A page's address.
    pub fn address(&self, page: usize) -> usize {
        if page < self.len { self.start + page * PAGE } else { self.heap + (page - self.len) * PAGE }
    }

    /// A page, if it is mapped.
    pub fn cell(&self, page: usize) -> Option<&Cell> {
        self.cells.get(page)?.as_ref()
    }

    /// Those of a range that are mapped.
    pub fn cells(&self, range: &Range<usize>) -> impl Iterator<Item = &Cell> {
        self.cells[range.clone()].iter().flatten()
    }

    /// The same, to be changed.
    pub fn cells_mut(&mut self, range: &Range<usize>) -> impl Iterator<Item = &mut Cell> {
        self.cells[range.clone()].iter_mut().flatten()
    }

    /// The objects that are mapped, a bit for each.
    pub fn objects(&self) -> u32 {
        let objects = self.cells.iter().flatten().filter_map(|cell| cell.view.object());
        objects.fold(0, |used, object| used | 1 << object)
    }

    /// The first page of a range that is not mapped.
    pub fn hole(&self, range: &Range<usize>) -> Option<usize> {
        range.clone().find(|&page| self.cells[page].is_none())
    }

    /// A range is mapped from now on and shows `first` and what follows it.
    pub fn map(&mut self, range: &Range<usize>, rights: i32, first: View) {
        self.mappings += 1;
        for (n, page) in range.clone().enumerate() {
            let view = if n == 0 { first } else { first.further(n) };
            self.cells[page] = Some(Cell { rights, mapping: self.mappings, view });
        }
    }

    /// A range is not mapped any more.
    pub fn unmap(&mut self, range: &Range<usize>) {
        self.cells[range.clone()].fill(None);
    }

    /// `old` is at `new` from now on, without its last pages or with more.
    pub fn relocate(&mut self, old: &Range<usize>, new: &Range<usize>) {
        let moved: [Option<Cell>; super::calls::MOST] =
            std::array::from_fn(|n| (n < old.len()).then(|| self.cells[old.start + n]).flatten());
        self.unmap(old);
        let Some(first) = moved[0] else { return };
        self.map(new, first.rights, first.view);
        for (n, page) in new.clone().enumerate().take(old.len()) {
            if let (Some(cell), Some(moved)) = (&mut self.cells[page], moved[n]) {
                cell.view = moved.view;
            }
        }
    }

    /// The pages from one on that one call mapped and that have the same rights.
    pub fn run(&self, page: usize) -> Range<usize> {
        let kind = |page| self.cell(page).map(|cell| (cell.mapping, cell.rights));
        let alike = |&next: &usize| kind(next) == kind(page);
        page..page + (page..self.len).take_while(alike).count()
    }

    /// What a page should hold; `None` where there is nothing.
    pub fn content(&self, shared: &Shared, page: usize) -> Option<Content> {
        match self.cell(page)?.view {
            View::Anonymous { content, .. } => Some(content),
            View::Copy { object, page, own } => {
                let object = &shared.objects[object];
                let theirs = object.content(page)?;
                Some(own.filter(|own| own.1 == object.cuts(page)).map_or(theirs, |own| own.0))
            }
            View::Shared { object, page } => shared.objects[object].content(page),
        }
    }

    /// Whether a page can be loaded from.
    pub fn is_readable(&self, shared: &Shared, page: usize) -> bool {
        self.content(shared, page).is_some() && self.cell(page).is_some_and(|cell| cell.rights != 0)
    }

    /// Whether a page can be stored to.
    pub fn is_writable(&self, shared: &Shared, page: usize) -> bool {
        let right = |cell: &Cell| cell.rights & libc::PROT_WRITE != 0;
        self.content(shared, page).is_some() && self.cell(page).is_some_and(right)
    }

    /// A page holds this from now on.
    pub fn set(&mut self, shared: &Shared, page: usize, new: Content) {
        let Some(cell) = &mut self.cells[page] else { return };
        match &mut cell.view {
            View::Anonymous { content, free } => (*content, *free) = (new, false),
            View::Copy { object, page, own } => *own = Some((new, shared.objects[*object].cuts(*page))),
            View::Shared { object, page } => shared.objects[*object].set(*page, new),
        }
    }

    /// What is in a page that can be loaded from, word by word from its start.
    pub fn read(&self, page: usize) -> Page {
        let start = std::ptr::without_provenance::<u64>(self.address(page));
        // SAFETY: the page is mapped, readable and aligned. Volatile because the kernel, too, changes it.
        std::array::from_fn(|at| unsafe { start.add(at).read_volatile() })
    }

    /// Fills a page that can be stored to.
    pub fn write(&self, page: usize, from: &Page) {
        let start = std::ptr::without_provenance_mut::<u64>(self.address(page));
        for (at, word) in from.iter().enumerate() {
            // SAFETY: the page is mapped, writable and aligned. Volatile because the kernel, too, reads it.
            unsafe { start.add(at).write_volatile(*word) };
        }
    }
}
