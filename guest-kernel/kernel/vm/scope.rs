//! Who is evicted next: among all pages (global replacement), or among those of one process (local replacement).
//!
//! A process with a resident limit has a scope of its own: a policy for as many pages as the limit allows. Its anonymous pages are
//! in it, and when it is full, one of them makes room for the next, whatever others do. All other pages, and all pages of files,
//! which belong to nobody, are in the global scope. When RAM is full, that gives up a page; only when it has none do the
//! others.

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;

use paging::policy::{AnyPolicy, PageKey, Pages, Policy, PolicyKind};

use super::frame::FrameIndex;

/// The scope that a page is in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Scope(u8);

impl Scope {
    /// All pages that are in no other.
    pub const GLOBAL: Self = Self(0);
}

/// The pages of one process.
struct Local {
    policy: AnyPolicy,
    /// The frame in each place that the policy knows.
    frames: Vec<FrameIndex>,
    /// Places that have none.
    free: Vec<u32>,
}

/// All scopes.
pub struct Scopes {
    global: AnyPolicy,
    locals: Vec<Option<Box<Local>>>,
    /// For each frame its scope, and in the low bits its place there, if that is not the global one.
    places: Box<[u32]>,
    /// That of the process whose pages come in.
    pub current: Scope,
}

const PLACE_BITS: u32 = 24;
/// The most scopes at once, beside the global one.
const MOST: usize = 255;

impl Scopes {
    /// The global scope alone, for so many frames.
    #[must_use]
    pub fn new(kind: PolicyKind, frames: u32) -> Self {
        Self {
            global: AnyPolicy::new(kind, frames),
            locals: Vec::new(),
            places: vec![0; frames as usize].into_boxed_slice(),
            current: Scope::GLOBAL,
        }
    }

    /// The policy of all of them.
    #[must_use]
    pub const fn kind(&self) -> PolicyKind {
        self.global.kind()
    }

    /// How many bytes [`Scopes::add`] takes of the kernel's memory at most.
    #[must_use]
    pub const fn bytes(limit: u32) -> usize {
        // The largest policy's 29 bytes and the lists here, each rounded up to the next power of two.
        2 * (29 + 8) * limit as usize + (16 << 10)
    }

    /// A new scope for `limit` pages. The caller made room for it. `None`: there are too many.
    pub fn add(&mut self, limit: u32) -> Option<Scope> {
        let place = self.locals.iter().position(Option::is_none).unwrap_or(self.locals.len());
        if place == MOST || limit == 0 || limit >> PLACE_BITS != 0 {
            return None;
        }
        let local = Box::new(Local {
            policy: AnyPolicy::new(self.kind(), limit),
            frames: vec![FrameIndex(0); limit as usize],
            free: (0..limit).rev().collect(),
        });
        if place == self.locals.len() {
            self.locals.push(None);
        }
        self.locals[place] = Some(local);
        Some(Scope(place as u8 + 1))
    }

    /// Ends a scope; pages of it that others use are in the global one from now on.
    pub fn remove_scope(&mut self, scope: Scope) {
        let Some(local) = self.local(scope).map(core::mem::take) else { return };
        for frame in local.iter().flat_map(|local| &local.frames) {
            // A place without a frame keeps its last one's number, which is elsewhere by now.
            let place = &mut self.places[frame.0 as usize];
            if (*place >> PLACE_BITS) as u8 == scope.0 {
                *place = 0;
                self.global.insert(frame.0);
            }
        }
        if self.current == scope {
            self.current = Scope::GLOBAL;
        }
    }

    fn local(&mut self, scope: Scope) -> Option<&mut Option<Box<Local>>> {
        self.locals.get_mut(usize::from(scope.0).checked_sub(1)?)
    }

    /// Whether a scope has as many pages as it may.
    #[inline]
    pub fn is_full(&mut self, scope: Scope) -> bool {
        scope != Scope::GLOBAL
            && self
                .local(scope)
                .is_some_and(|local| local.as_ref().is_some_and(|local| local.free.is_empty()))
    }

    /// How many pages a scope has; of the global one nobody asks.
    pub fn resident(&mut self, scope: Scope) -> u32 {
        let local = self.local(scope).and_then(|local| local.as_deref());
        local.map_or(0, |local| (local.frames.len() - local.free.len()) as u32)
    }

    /// The scope with most pages beside the global one.
    pub fn largest(&mut self) -> Option<Scope> {
        let all = (1..=self.locals.len()).map(|number| Scope(number as u8));
        let largest = all.max_by_key(|&scope| self.resident(scope))?;
        (self.resident(largest) > 0).then_some(largest)
    }

    /// A frame holds a page from now on that may be evicted, in a scope; in the global one if that is full.
    pub fn insert(&mut self, frame: FrameIndex, scope: Scope, page: PageKey) {
        if scope != Scope::GLOBAL
            && let Some(Some(local)) = self.local(scope)
            && let Some(place) = local.free.pop()
        {
            local.frames[place as usize] = frame;
            local.policy.insert_page(place, page);
            self.places[frame.0 as usize] = u32::from(scope.0) << PLACE_BITS | place;
            return;
        }
        self.global.insert_page(frame.0, page);
    }

    /// A frame no longer holds a page that may be evicted. Returns the scope that it was in.
    pub fn remove(&mut self, frame: FrameIndex) -> Scope {
        let place = core::mem::take(&mut self.places[frame.0 as usize]);
        let scope = Scope((place >> PLACE_BITS) as u8);
        if scope == Scope::GLOBAL {
            self.global.remove(frame.0);
        } else if let Some(Some(local)) = self.local(scope) {
            local.leave(place & ((1 << PLACE_BITS) - 1));
        }
        scope
    }

    /// Chooses a victim in a scope and takes it out.
    pub fn victim(&mut self, scope: Scope, pages: &mut dyn Pages) -> Option<FrameIndex> {
        if scope == Scope::GLOBAL {
            return self.global.victim(pages).map(FrameIndex);
        }
        let Some(Some(local)) = self.local(scope) else { return None };
        let Local { policy, frames, free } = &mut **local;
        let place = policy.victim(&mut Translated { frames, pages })?;
        free.push(place);
        let frame = frames[place as usize];
        self.places[frame.0 as usize] = 0;
        Some(frame)
    }

    /// Virtual time passes.
    pub fn tick(&mut self, pages: &mut dyn Pages) {
        self.global.tick(pages);
        for local in self.locals.iter_mut().flatten() {
            let Local { policy, frames, .. } = &mut **local;
            policy.tick(&mut Translated { frames, pages });
        }
    }
}

impl Local {
    fn leave(&mut self, place: u32) {
        self.policy.remove(place);
        self.free.push(place);
    }
}

/// What a local policy asks of a place is asked of the frame there.
struct Translated<'a> {
    frames: &'a [FrameIndex],
    pages: &'a mut dyn Pages,
}

impl Pages for Translated<'_> {
    fn referenced(&mut self, place: u32) -> bool {
        self.pages.referenced(self.frames[place as usize].0)
    }

    fn is_dirty(&mut self, place: u32) -> bool {
        self.pages.is_dirty(self.frames[place as usize].0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against a list: each frame is in one scope, a full one takes no more, a victim is one of the scope's own, and the pages of a scope
        /// that ends go to the global one.
        #[test]
        fn each_page_is_in_one_scope(steps in prop::collection::vec((0u8..5, 0u32..40, 0u8..3), 0..200)) {
            let mut scopes = Scopes::new(PolicyKind::Clock, 40);
            let mut live = vec![Scope::GLOBAL, scopes.add(4).unwrap(), scopes.add(7).unwrap()];
            let limits = [40, 4, 7];
            let mut model: Vec<Option<usize>> = vec![None; 40];
            for (step, frame, which) in steps {
                let which = usize::from(which);
                let held = |model: &[Option<usize>], which| model.iter().filter(|held| **held == Some(which)).count();
                match (step, model[frame as usize]) {
                    (0..3, None) => {
                        prop_assert_eq!(scopes.is_full(live[which]), which > 0 && held(&model, which) == limits[which]);
                        let goes = if held(&model, which) < limits[which] { which } else { 0 };
                        scopes.insert(FrameIndex(frame), live[which], PageKey(frame.into()));
                        model[frame as usize] = Some(goes);
                    }
                    (0..3, Some(scope)) => {
                        prop_assert_eq!(scopes.remove(FrameIndex(frame)), live[scope]);
                        model[frame as usize] = None;
                    }
                    (3, _) => {
                        let victim = scopes.victim(live[which], &mut |_| false);
                        prop_assert_eq!(victim.is_some(), held(&model, which) > 0);
                        if let Some(victim) = victim {
                            prop_assert_eq!(model[victim.0 as usize].take(), Some(which));
                        }
                    }
                    _ if which > 0 => {
                        scopes.remove_scope(live[which]);
                        model.iter_mut().flatten().filter(|scope| **scope == which).for_each(|scope| *scope = 0);
                        live[which] = scopes.add(limits[which] as u32).unwrap();
                    }
                    _ => {}
                }
            }
            let mut left = model.iter().flatten().count();
            for scope in live {
                while scopes.victim(scope, &mut |_| false).is_some() {
                    left -= 1;
                }
            }
            prop_assert_eq!(left, 0);
        }
    }
}
