//! The fault thread: answers each touch of a page that is not in guest RAM.
//!
//! It never touches guest RAM through its mapping: it would wait for itself. A page is read from the store into
//! a buffer of this thread's, without any lock, and copied from there.

use std::time::Instant;

use paging::policy::{PageKey, Policy};

use super::frames::{FrameGuard, FrameState};
use super::staging::{hva, zeros};
use super::stats::Source;
use super::trace::Recorder;
use super::uffd::{Fault, Message, Range};
use super::{PagerError, Shared};
use crate::memory::FrameIndex;
use crate::store::{PageBytes, Slot};

/// How many faults are read at once.
const BATCH: usize = 16;

/// Answers faults until the doorbell rings.
pub fn run(shared: &Shared, mut recorder: Option<Recorder>) {
    let mut messages = [Message::default(); BATCH];
    let mut buffer = Box::new(PageBytes::zeroed());
    loop {
        let faults = match shared.uffd.wait(&mut messages) {
            Ok(faults) => faults,
            Err(error) => {
                shared.fail(PagerError::Wait(error));
                // Nobody listens any more: the doorbell must not wait for an answer.
                let _ = shared.uffd.unregister(shared.staging.range());
                return;
            }
        };
        let start = Instant::now();
        let mut stop = false;
        for fault in faults {
            if fault.page == shared.staging.doorbell() {
                let _ = shared.uffd.copy(fault.page, zeros());
                stop = true;
                continue;
            }
            match serve(shared, fault, &mut buffer) {
                Ok(Some(source)) => {
                    let time = start.elapsed();
                    shared.counters.served(source, time);
                    if let Some(recorder) = &mut recorder {
                        recorder.record(shared, fault, source, start, time);
                    }
                }
                Ok(None) => {}
                Err(error) => shared.fail(error),
            }
        }
        if stop {
            return;
        }
    }
}

/// Brings the page in and wakes who waits for it. `None`: there was nothing to do, or the pager is stopping. After an
/// error whoever waits goes on waiting, because nobody may be given a wrong page.
///
/// Each round looks at the state afresh and takes one step: without the lock it gets room, then reads the
/// page; with the lock it puts the page in place. In between the page may go on from the staging area to the store.
fn serve(shared: &Shared, fault: Fault, buffer: &mut PageBytes) -> Result<Option<Source>, PagerError> {
    let Some(frame) = shared.ram.index_of_hva(fault.page) else {
        return Err(PagerError::Stray(fault.page));
    };
    let refused = |outcome| PagerError::Refused { frame, outcome };
    let mut unit = None;
    let mut read = None;
    loop {
        let guard = shared.frames.lock(frame);
        let state = guard.state();
        let (from, source) = match state {
            FrameState::Resident(_) if fault.protected => {
                // It was protected to see this write.
                shared.uffd.protect(Range::page(fault.page), false).map_err(refused)?;
                shared.marks.written(frame);
                shared.counters.caught.add(1);
                return Ok(None);
            }
            FrameState::Resident(_) => {
                // Someone else's fault brought it in meanwhile.
                shared.uffd.wake(fault.page).map_err(refused)?;
                return Ok(None);
            }
            FrameState::Parked(berth) => {
                shared.staging.unpark(&shared.uffd, berth, fault.page).map_err(refused)?;
                settle(shared, frame, guard, (shared.staging.slot(berth), true));
                return Ok(Some(Source::Rescued));
            }
            FrameState::Zero | FrameState::Writing(_) | FrameState::Stored(_) if unit.is_none() => {
                drop(guard);
                unit = shared.room.take();
                if unit.is_none() {
                    return Ok(None);
                }
                continue;
            }
            FrameState::Zero => (zeros(), Source::Zero),
            FrameState::Writing(berth) => (shared.staging.at(berth), Source::Rescued),
            FrameState::Stored(slot) => match read {
                Some((from, origin)) if from == slot => (hva(buffer), Source::from(origin)),
                _ => {
                    drop(guard);
                    let origin = shared.store.get(slot, buffer);
                    read = Some((slot, origin.map_err(|error| PagerError::Read { frame, error })?));
                    continue;
                }
            },
        };
        shared.uffd.copy(fault.page, from).map_err(refused)?;
        if let Some(unit) = unit {
            unit.keep();
        }
        // A page that is brought in to be written will not be what its slot holds.
        let (kept, stale) = match state {
            FrameState::Stored(slot) if fault.write => (None, Some(slot)),
            FrameState::Stored(slot) => (Some(slot), None),
            _ => (None, None),
        };
        settle(shared, frame, guard, (kept, false));
        stale.into_iter().for_each(|slot| shared.store.release(slot));
        return Ok(Some(source));
    }
}

/// The page is in guest RAM: from now on it may be evicted. That it was only brought in does not count as a use.
fn settle(shared: &Shared, frame: FrameIndex, mut guard: FrameGuard<'_>, (slot, used): (Option<Slot>, bool)) {
    guard.set(FrameState::Resident(slot));
    if let Some(stamp) = shared.marks.arrive(frame, used, slot.is_none()) {
        shared.ghosts.return_of(stamp);
    }
    shared.policy.lock().insert_page(frame.0, PageKey(frame.0.into()));
}
