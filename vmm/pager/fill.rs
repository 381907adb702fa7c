//! Bringing pages in: one, a row of them, or a huge page whole.
//!
//! The protocol is the same for all three. Units of the budget are taken. Under the group's lock the frames become `Filling`,
//! so that everyone else leaves them alone. Without the lock the pages are read into memory of this thread's. Under the
//! lock again they are put in place, which wakes who waits for them, and become `Resident`. If reading
//! fails they stay `Filling`, and whoever waits for them goes on waiting: nobody is given a wrong page.

use abi::addr::Hva;

use super::around::Neighbours;
use super::frames::{FrameState, GROUP, GroupGuard, Hints, Whole, head};
use super::landing::Landing;
use super::room::Units;
use super::staging::{hva, take_whole, zeros};
use super::stats::Source;
use super::streams::Plan;
use super::uffd::{Outcome, patiently};
use super::{PagerError, Shared};
use crate::memory::FrameIndex;
use crate::store::{PageBytes, Slot};

/// Most pages that are put in place in one go.
const ROW: usize = 32;

/// What a thread needs to bring pages in.
pub struct Filler<'a> {
    shared: &'a Shared,
    /// As many pages as the longest row so far had, at least one.
    row: Vec<PageBytes>,
    /// Where huge pages are put together; none where guest RAM has none.
    landing: Option<Landing>,
}

impl<'a> Filler<'a> {
    pub fn new(shared: &'a Shared) -> Result<Self, PagerError> {
        let landing = shared.huge.map(|_| Landing::new()).transpose().map_err(PagerError::Landing)?;
        Ok(Self { shared, row: vec![PageBytes::zeroed()], landing })
    }

    /// Brings one page in that is nowhere or in the store. `write`: it will not stay what its slot holds.
    pub fn page(
        &mut self,
        mut guard: GroupGuard<'_>,
        frame: FrameIndex,
        units: &mut Units<'_>,
        write: bool,
    ) -> Result<Source, PagerError> {
        let shared = self.shared;
        let page = shared.hva(frame)?;
        let Some(slot) = guard.state(frame).slot() else {
            place(shared, page, zeros(), frame)?;
            units.keep(1);
            settle(shared, guard, frame, None, false);
            return Ok(Source::Zero);
        };
        guard.set(frame, FrameState::Filling(Some(slot)));
        drop(guard);
        let origin =
            shared.store.get(slot, &mut self.row[0]).map_err(|error| PagerError::Read { frame, error })?;
        let guard = shared.frames.lock(frame);
        place(shared, page, hva(&self.row[0]), frame)?;
        units.keep(1);
        settle(shared, guard, frame, Some(slot).filter(|_| !write), false);
        if write {
            shared.store.release(slot);
        }
        Ok(origin.into())
    }

    /// Brings a huge page in, all of whose small ones are out. Returns the farthest place that one of them came from.
    pub fn whole(
        &mut self,
        mut guard: GroupGuard<'_>,
        first: FrameIndex,
        units: &mut Units<'_>,
    ) -> Result<Source, PagerError> {
        let shared = self.shared;
        let Some(landing) = &mut self.landing else { return Err(PagerError::Stray(shared.hva(first)?)) };
        let slots: Vec<_> = guard.frames().map(|frame| guard.state(frame).slot()).collect();
        for (frame, &slot) in guard.frames().zip(&slots) {
            guard.set(frame, FrameState::Filling(slot));
        }
        drop(guard);
        let mut source = Source::Zero;
        let pages = landing.pages().map_err(PagerError::Landing)?;
        for (place, (slots, pages)) in slots.chunks(ROW).zip(pages.chunks_mut(ROW)).enumerate() {
            let frame = FrameIndex(first.0 + (place * ROW) as u32);
            source = source.farther(read_row(shared, slots, pages, |page| FrameIndex(frame.0 + page))?);
        }
        let mut guard = shared.frames.lock(first);
        self.put_whole(&mut guard, first)?;
        units.keep(GROUP);
        for (frame, slot) in guard.frames().zip(slots) {
            guard.set(frame, FrameState::Resident(slot));
        }
        guard.set_whole(Whole::Resident);
        arrived(shared, first, false, true);
        shared.counters.whole_in.add(1);
        Ok(source)
    }

    fn put_whole(&self, guard: &mut GroupGuard<'_>, first: FrameIndex) -> Result<(), PagerError> {
        let (shared, Some(landing)) = (self.shared, &self.landing) else { return Ok(()) };
        let to = shared.hva(first)?;
        *guard.hints() = Hints::default();
        // There may be an empty page table, of small pages that were there or of a fault for which the kernel found no huge page.
        // The huge page would be split for it; Linux 6.14 and newer free it here.
        shared.staging.discard(to, GROUP).map_err(PagerError::Discard)?;
        // SAFETY: the reference to the landing's pages has ended.
        let moved = patiently(|| unsafe { take_whole(&shared.uffd, to, landing.start()) });
        moved.map_err(refused("fill all of the group of", first))
    }

    /// Brings in what a plan says, as far as that takes no room that faults may need, and not at all what is
    /// there. Returns how many pages came, and the last frame that was looked at.
    pub fn ahead(&mut self, plan: Plan) -> Result<(u32, Option<FrameIndex>), PagerError> {
        let (mut brought, mut left) = (0, plan.count);
        let (mut at, mut last) = (plan.first, None);
        while let Some(frame) = self.frame(at).filter(|_| left > 0) {
            let (came, step) = match self.whole_ahead(frame, plan.is_sure)? {
                Ahead::NoRoom => break,
                // Its group needs no more, and the next one is worth a look.
                Ahead::There => (0, steps_out_of_group(at, plan.stride)),
                Ahead::Came => (GROUP, steps_out_of_group(at, plan.stride)),
                Ahead::PageByPage => {
                    let mut row = self.row_from(at, plan.stride, left);
                    let step = row.len() as u32;
                    let Some(came) = self.row(&mut row, plan.is_sure)? else { break };
                    (came, step)
                }
            };
            brought += came;
            left = left.saturating_sub(step);
            at += i64::from(step) * plan.stride;
            last = self.frame(at - plan.stride);
        }
        self.shared.counters.ahead.add(brought.into());
        Ok((brought, last))
    }

    /// The same for neighbours of a page. Returns how many came.
    pub fn around(&mut self, neighbours: Neighbours) -> Result<u32, PagerError> {
        let mut frames: Vec<_> = neighbours.frames().collect();
        if frames.is_empty() {
            return Ok(0);
        }
        Ok(self.row(&mut frames, false)?.unwrap_or(0))
    }

    /// The same for a plan of groups that come whole.
    pub fn groups_ahead(&mut self, plan: Plan) -> Result<(u32, Option<FrameIndex>), PagerError> {
        let (mut brought, mut last) = (0, None);
        for group in plan.frames() {
            let Some(frame) = self.frame(i64::from(group.0) * i64::from(GROUP)) else { break };
            match self.whole_ahead(frame, plan.is_sure)? {
                Ahead::NoRoom => break,
                Ahead::Came => brought += 1,
                Ahead::There | Ahead::PageByPage => {}
            }
            last = Some(group);
        }
        self.shared.counters.ahead.add(u64::from(brought * GROUP));
        Ok((brought, last))
    }

    /// Brings a frame's group in whole, if that is how it comes and there is room.
    fn whole_ahead(&mut self, frame: FrameIndex, sure: bool) -> Result<Ahead, PagerError> {
        let shared = self.shared;
        let Some(huge) = shared.huge else { return Ok(Ahead::PageByPage) };
        let guard = shared.frames.lock(frame);
        if guard.whole() != Whole::No {
            return Ok(Ahead::There);
        }
        if !sure || !shared.frames.has_whole_group(frame) || !huge.brings_whole_ahead(&guard) {
            return Ok(Ahead::PageByPage);
        }
        let Some(mut units) = shared.room.try_take(GROUP, shared.room.spare()) else {
            return Ok(Ahead::NoRoom);
        };
        self.whole(guard, head(frame), &mut units)?;
        Ok(Ahead::Came)
    }

    fn frame(&self, number: i64) -> Option<FrameIndex> {
        u32::try_from(number).ok().filter(|&frame| frame < self.shared.ram.frames()).map(FrameIndex)
    }

    /// Frames from `at` on, of one group, as many as a row takes.
    fn row_from(&self, at: i64, stride: i64, most: u32) -> Vec<FrameIndex> {
        let frames = (0..i64::from(most)).map_while(|step| self.frame(at + step * stride));
        frames
            .take_while(|frame| i64::from(head(*frame).0) == at / i64::from(GROUP) * i64::from(GROUP))
            .take(ROW)
            .collect()
    }

    /// Brings in those of a group's frames that are out. `None` if there is no room for any that is.
    fn row(&mut self, frames: &mut [FrameIndex], zeros_too: bool) -> Result<Option<u32>, PagerError> {
        let shared = self.shared;
        frames.sort_unstable();
        let mut guard = shared.frames.lock(frames[0]);
        if guard.whole() != Whole::No {
            return Ok(Some(0));
        }
        let wanted = |state| matches!(state, FrameState::Stored(_)) || zeros_too && state == FrameState::Zero;
        let out: Vec<_> = frames.iter().copied().filter(|&frame| wanted(guard.state(frame))).collect();
        if out.is_empty() {
            return Ok(Some(0));
        }
        let Some(mut units) = shared.room.try_take(out.len() as u32, shared.room.spare()) else {
            return Ok(None);
        };
        let slots: Vec<_> = out.iter().map(|&frame| guard.state(frame).slot()).collect();
        out.iter().zip(&slots).for_each(|(&frame, &slot)| guard.set(frame, FrameState::Filling(slot)));
        drop(guard);
        if self.row.len() < out.len() {
            self.row.resize(out.len(), PageBytes::zeroed());
        }
        let empty = self.row.iter_mut().zip(&slots).filter(|(_, slot)| slot.is_none());
        empty.for_each(|(page, _)| page.0.fill(0));
        read_row(shared, &slots, &mut self.row, |page| out[page as usize])?;
        let mut guard = shared.frames.lock(out[0]);
        let mut placed = 0;
        while placed < out.len() {
            placed += self.place_row(&out[placed..], placed)? as usize;
        }
        units.keep(out.len() as u32);
        for (&frame, &slot) in out.iter().zip(&slots) {
            guard.set(frame, FrameState::Resident(slot));
            arrived(shared, frame, false, slot.is_none());
        }
        Ok(Some(out.len() as u32))
    }

    /// Puts pages of the row, from `place` on, where the first of `frames` and its neighbours are. Returns how many went.
    fn place_row(&self, frames: &[FrameIndex], place: usize) -> Result<u32, PagerError> {
        let neighbours = frames.windows(2).take_while(|pair| pair[0].0 + 1 == pair[1].0).count() + 1;
        let copied =
            self.shared.uffd.copy_run(self.shared.hva(frames[0])?, hva(&self.row[place]), neighbours as u32);
        copied.map_err(refused("fill a row from", frames[0]))
    }
}

/// What became of a group ahead of its fault.
enum Ahead {
    /// It is there already.
    There,
    /// It came whole.
    Came,
    /// It does not come whole.
    PageByPage,
    /// It would take room that faults may need.
    NoRoom,
}

/// Steps from a frame to the first one in another group.
fn steps_out_of_group(frame: i64, stride: i64) -> u32 {
    let within = frame % i64::from(GROUP);
    let left = if stride > 0 { i64::from(GROUP) - within } else { within + 1 };
    (left as u64).div_ceil(stride.unsigned_abs()) as u32
}

/// Reads the pages of those slots that there are, those in the store's file all at once. Returns the farthest place that one came
/// from. `frame` says whose page it is, by its number in the row.
fn read_row(
    shared: &Shared,
    slots: &[Option<Slot>],
    pages: &mut [PageBytes],
    frame: impl Fn(u32) -> FrameIndex,
) -> Result<Source, PagerError> {
    let numbered = (0..).zip(slots.iter().zip(pages));
    let (numbers, mut wanted): (Vec<u32>, Vec<_>) =
        numbered.filter_map(|(number, (slot, page))| Some((number, ((*slot)?, page)))).unzip();
    let mut source = Source::Zero;
    for (number, origin) in numbers.into_iter().zip(shared.store.get_batch(&mut wanted)) {
        let origin = origin.map_err(|error| PagerError::Read { frame: frame(number), error })?;
        source = source.farther(origin.into());
    }
    Ok(source)
}

/// Puts a page where a frame is.
fn place(shared: &Shared, to: Hva, from: Hva, frame: FrameIndex) -> Result<(), PagerError> {
    shared.uffd.copy(to, from).map_err(refused("fill", frame))
}

/// A small page is in guest RAM: from now on it may be evicted. That it was only brought in does not count as a use.
pub fn settle(shared: &Shared, mut guard: GroupGuard<'_>, frame: FrameIndex, slot: Option<Slot>, used: bool) {
    guard.set(frame, FrameState::Resident(slot));
    arrived(shared, frame, used, slot.is_none());
}

/// A page came, or a huge one, which goes by its first frame: its marks say so, and the policy is told.
fn arrived(shared: &Shared, frame: FrameIndex, used: bool, written: bool) {
    if let Some(stamp) = shared.marks.arrive(frame, used, written) {
        shared.ghosts.return_of(stamp);
    }
    shared.admit(frame);
}

/// A huge page's group is in guest RAM again, after a touch at `frame`.
pub fn settle_whole(shared: &Shared, guard: &mut GroupGuard<'_>, frame: FrameIndex) {
    guard.set_whole(Whole::Resident);
    arrived(shared, head(frame), true, true);
    guard.hints().touched((frame.0 % GROUP) as u16);
}

/// What a userfaultfd operation's refusal means for the VM.
pub fn refused(what: &'static str, frame: FrameIndex) -> impl Fn(Outcome) -> PagerError {
    move |outcome| PagerError::Refused { what, frame, outcome }
}
