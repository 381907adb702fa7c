//! Contents that travel: through files, and through a pipe.

use std::ops::Range;

use programs::PAGE;

use super::arena::View;
use super::content::Content;
use super::objects::{FILES, LONGEST};
use super::os::{self, Answer};
use super::worker::{Worker, Wrong};

/// Most pages that one call reads or writes.
const MOST: usize = 8;

/// What a call answers that has done so many pages when it comes to one that cannot be used.
const fn pages_done(pages: usize) -> Answer {
    if pages == 0 { Err(libc::EFAULT) } else { Ok(pages * PAGE) }
}

impl Worker {
    /// ftruncate: to whole pages, half of the times by way of a part of the last one.
    pub fn truncate(&mut self) -> Result<(), Wrong> {
        let (file, pages) = (self.random.below(FILES), self.random.below(LONGEST + 1));
        let object = &self.shared.objects[file];
        if pages > 0 && self.random.below(2) == 0 {
            let part = self.random.below(PAGE / 8) * 8;
            let got = os::truncate(self.files[file], (pages - 1) * PAGE + part);
            self.expect(format_args!("ftruncate to {} pages and {part}", pages - 1), got, Ok(0))?;
            object.set_pages(if part == 0 { pages - 1 } else { pages });
            let last = object.content(pages - 1).unwrap_or(Content::ZEROS);
            object.set(pages - 1, last.cut(part));
        }
        let got = os::truncate(self.files[file], pages * PAGE);
        self.expect(format_args!("ftruncate to {pages} pages"), got, Ok(0))?;
        object.set_pages(pages);
        Ok(())
    }

    /// A file, where in it, and pages of the arena; one page alone where the file is mapped itself.
    fn file_and_pages(&mut self) -> (usize, usize, Range<usize>) {
        let (file, first) = (self.random.below(FILES), self.random.below(LONGEST));
        let mut range = self.range(MOST.min(LONGEST - first));
        if self.arena.cells(&range).any(|cell| cell.view.object() == Some(file)) {
            range.end = range.start + 1;
        }
        (file, first, range)
    }

    /// pwrite, or lseek and write, from the arena to a file.
    pub fn write_file(&mut self) -> Result<(), Wrong> {
        let (file, first, range) = self.file_and_pages();
        if !range.clone().all(|page| self.keep(page)) {
            return Ok(());
        }
        let mut contents = [Content::ZEROS; MOST];
        let readable = range.clone().take_while(|&page| self.arena.is_readable(self.shared, page));
        let pages = readable.count();
        for (content, page) in contents.iter_mut().zip(range.clone()) {
            *content = self.arena.content(self.shared, page).unwrap_or(Content::ZEROS);
        }
        // Linux's tmpfs makes a file longer by a write past its end, even if that fails.
        if pages == 0 && first > self.shared.objects[file].pages() {
            return Ok(());
        }
        let (from, bytes) = (self.arena.address(range.start), range.len() * PAGE);
        let got = if self.random.below(2) == 0 {
            os::write_at(self.files[file], from, bytes, first * PAGE)
        } else {
            self.expect("lseek", os::seek(self.files[file], first * PAGE), Ok(first * PAGE))?;
            os::write(self.files[file], from, bytes)
        };
        let what = format_args!("write of {range:?} to page {first} of file {file}");
        self.expect(what, got, pages_done(pages))?;
        let object = &self.shared.objects[file];
        if pages > 0 {
            object.set_pages(object.pages().max(first + pages));
        }
        for (page, content) in contents.iter().enumerate().take(pages) {
            object.set(first + page, *content);
        }
        Ok(())
    }

    /// pread, or lseek and read, from a file to the arena.
    pub fn read_file(&mut self) -> Result<(), Wrong> {
        let (file, first, range) = self.file_and_pages();
        let object = &self.shared.objects[file];
        let there = range.len().min(object.pages().saturating_sub(first));
        let writable = range.clone().take_while(|&page| self.arena.is_writable(self.shared, page));
        let pages = writable.count().min(there);
        let (to, bytes) = (self.arena.address(range.start), range.len() * PAGE);
        let got = if self.random.below(2) == 0 {
            os::read_at(self.files[file], to, bytes, first * PAGE)
        } else {
            self.expect("lseek", os::seek(self.files[file], first * PAGE), Ok(first * PAGE))?;
            os::read(self.files[file], to, bytes)
        };
        let want = if there == 0 { Ok(0) } else { pages_done(pages) };
        self.expect(format_args!("read of page {first} of file {file} to {range:?}"), got, want)?;
        for (n, page) in range.enumerate().take(pages) {
            if let Some(content) = object.content(first + n) {
                self.arena.set(self.shared, page, content);
            }
        }
        Ok(())
    }

    /// A page goes through a pipe to another.
    pub fn through_pipe(&mut self) -> Result<(), Wrong> {
        let (from, to) = (self.somewhere(), self.somewhere());
        let usable = self.arena.is_readable(self.shared, from) && self.arena.is_writable(self.shared, to);
        if !usable || !self.keep(from) {
            return Ok(());
        }
        let got = os::write(self.pipe.1, self.arena.address(from), PAGE);
        self.expect(format_args!("write of page {from} to a pipe"), got, Ok(PAGE))?;
        let got = os::read(self.pipe.0, self.arena.address(to), PAGE);
        self.expect(format_args!("read of page {to} from a pipe"), got, Ok(PAGE))?;
        if let Some(content) = self.arena.content(self.shared, from) {
            self.arena.set(self.shared, to, content);
        }
        Ok(())
    }

    /// Makes sure that a page is not taken while it is used: stores to one that is free to be. Returns whether that can be done.
    fn keep(&mut self, page: usize) -> bool {
        let free =
            self.arena.cell(page).is_some_and(|cell| matches!(cell.view, View::Anonymous { free: true, .. }));
        if free && self.arena.is_writable(self.shared, page) {
            self.store(page);
            return true;
        }
        !free
    }
}
