//! The policies in the plainest way: searched lists, nothing indexed, nothing threaded.

use std::collections::VecDeque;

use super::{FRAMES_A_TICK, PageKey, Pages, Policy, PolicyKind};

/// The model of a policy for frames 0 to `frames` - 1.
pub(super) fn model(kind: PolicyKind, frames: u32) -> Box<dyn Policy> {
    match kind {
        PolicyKind::Fifo => Box::new(Fifo::default()),
        PolicyKind::Clock => Box::new(Clock::default()),
        PolicyKind::Aging => Box::new(Aging { frames, ..Aging::default() }),
        PolicyKind::Sieve => Box::new(Sieve::default()),
        PolicyKind::S3Fifo => Box::new(S3Fifo::default()),
        PolicyKind::WsClock => {
            Box::new(WsClock { window: (frames / FRAMES_A_TICK * 4).max(32), ..WsClock::default() })
        }
    }
}

/// Oldest first.
#[derive(Default)]
struct Fifo(VecDeque<u32>);

impl Policy for Fifo {
    fn insert(&mut self, frame: u32) {
        self.0.push_back(frame);
    }

    fn remove(&mut self, frame: u32) {
        self.0.retain(|&other| other != frame);
    }

    fn victim(&mut self, _: &mut dyn Pages) -> Option<u32> {
        self.0.pop_front()
    }
}

/// From the hand on.
#[derive(Default)]
struct Clock(VecDeque<u32>);

impl Policy for Clock {
    fn insert(&mut self, frame: u32) {
        self.0.push_back(frame);
    }

    fn remove(&mut self, frame: u32) {
        self.0.retain(|&other| other != frame);
    }

    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        for _ in 0..self.0.len() {
            if !pages.referenced(*self.0.front()?) {
                break;
            }
            self.0.rotate_left(1);
        }
        self.0.pop_front()
    }
}

/// Frame, age, and when it got that age.
#[derive(Default)]
struct Aging {
    pages: Vec<(u32, u8, u64)>,
    changes: u64,
    sweep: u32,
    frames: u32,
}

impl Aging {
    fn change(&mut self, frame: u32, change: impl Fn(u8) -> u8) {
        self.changes += 1;
        for page in self.pages.iter_mut().filter(|page| page.0 == frame && page.1 != change(page.1)) {
            *page = (frame, change(page.1), self.changes);
        }
    }
}

impl Policy for Aging {
    fn insert(&mut self, frame: u32) {
        self.changes += 1;
        self.pages.push((frame, 0x80, self.changes));
    }

    fn remove(&mut self, frame: u32) {
        self.pages.retain(|page| page.0 != frame);
    }

    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        let lowest = |aging: &Self| Some(aging.pages.iter().min_by_key(|page| (page.1, page.2))?.0);
        for _ in 0..self.pages.len() {
            let frame = lowest(self)?;
            if !pages.referenced(frame) {
                break;
            }
            self.change(frame, |age| age | 0x80);
        }
        let frame = lowest(self)?;
        self.remove(frame);
        Some(frame)
    }

    fn tick(&mut self, pages: &mut dyn Pages) {
        for _ in 0..self.frames.min(FRAMES_A_TICK) {
            let frame = self.sweep;
            self.sweep = (self.sweep + 1) % self.frames;
            if self.pages.iter().any(|page| page.0 == frame) {
                let used = pages.referenced(frame);
                self.change(frame, |age| age / 2 + u8::from(used) * 128);
            }
        }
    }
}

/// Oldest first, and the place of the hand.
#[derive(Default)]
struct Sieve {
    queue: Vec<u32>,
    hand: usize,
}

impl Sieve {
    fn remove_at(&mut self, index: usize) -> u32 {
        self.hand -= usize::from(index < self.hand);
        self.queue.remove(index)
    }
}

impl Policy for Sieve {
    fn insert(&mut self, frame: u32) {
        // A hand past the newest page has gone round.
        self.hand = if self.hand == self.queue.len() { 0 } else { self.hand };
        self.queue.push(frame);
    }

    fn remove(&mut self, frame: u32) {
        let index = self.queue.iter().position(|&other| other == frame);
        index.into_iter().for_each(|index| _ = self.remove_at(index));
    }

    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        for chance in 0..=self.queue.len() {
            self.hand = if self.hand >= self.queue.len() { 0 } else { self.hand };
            let frame = *self.queue.get(self.hand)?;
            if chance == self.queue.len() || !pages.referenced(frame) {
                return Some(self.remove_at(self.hand));
            }
            self.hand += 1;
        }
        None
    }
}

/// Each frame with its page; ghosts with gaps where one was taken, newest first.
#[derive(Default)]
struct S3Fifo {
    small: VecDeque<(u32, Option<PageKey>)>,
    main: VecDeque<(u32, Option<PageKey>)>,
    ghosts: VecDeque<Option<PageKey>>,
}

impl S3Fifo {
    fn held(&self) -> usize {
        self.small.len() + self.main.len()
    }

    fn share(&self) -> usize {
        (self.held() / 10).max(1)
    }
}

impl Policy for S3Fifo {
    fn insert(&mut self, frame: u32) {
        self.small.push_back((frame, None));
    }

    fn insert_page(&mut self, frame: u32, page: PageKey) {
        let ghost = self.ghosts.iter().position(|&ghost| ghost == Some(page));
        ghost.into_iter().for_each(|index| self.ghosts[index] = None);
        let known = ghost.is_some_and(|index| index < self.held() + 1 - self.share());
        if known { &mut self.main } else { &mut self.small }.push_back((frame, Some(page)));
    }

    fn remove(&mut self, frame: u32) {
        self.small.retain(|page| page.0 != frame);
        self.main.retain(|page| page.0 != frame);
    }

    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        for chance in 0..=self.held() {
            let last = chance == self.held();
            if self.small.len() >= self.share() || self.main.is_empty() {
                let (frame, page) = self.small.pop_front()?;
                if last || !pages.referenced(frame) {
                    self.ghosts.push_front(page);
                    return Some(frame);
                }
                self.main.push_back((frame, page));
            } else {
                let (frame, page) = self.main.pop_front()?;
                if last || !pages.referenced(frame) {
                    return Some(frame);
                }
                self.main.push_back((frame, page));
            }
        }
        None
    }
}

/// From the hand on, each frame with the time of its last use.
#[derive(Default)]
struct WsClock {
    queue: VecDeque<(u32, u32)>,
    now: u32,
    window: u32,
}

impl Policy for WsClock {
    fn insert(&mut self, frame: u32) {
        self.queue.push_back((frame, self.now));
    }

    fn remove(&mut self, frame: u32) {
        self.queue.retain(|page| page.0 != frame);
    }

    fn victim(&mut self, pages: &mut dyn Pages) -> Option<u32> {
        let mut seen = Vec::new();
        for _ in 0..self.queue.len().min(32) {
            let (frame, used_at) = self.queue.front_mut()?;
            if pages.referenced(*frame) {
                *used_at = self.now;
            }
            let (frame, idle) = (*frame, self.now - *used_at);
            if idle > self.window && !pages.is_dirty(frame) {
                self.queue.pop_front();
                return Some(frame);
            }
            seen.push((idle, frame));
            self.queue.rotate_left(1);
        }
        // The first of those that were unused longest.
        let (_, frame) = seen.into_iter().rev().max_by_key(|&(idle, _)| idle)?;
        self.remove(frame);
        Some(frame)
    }

    fn tick(&mut self, _: &mut dyn Pages) {
        self.now += 1;
    }
}
