//! The fault threads: answer each touch of a page that is not in guest RAM.
//!
//! They never touch guest RAM through its mapping: they would wait for themselves. One of them is in the lead at a time (`desk`). What it can
//! answer from memory it answers; before it waits for the store's file or for room, or works ahead of a stream (`streams`), it passes the lead on.

use std::collections::VecDeque;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::around::{Missed, Neighbours};
use super::aside::Aside;
use super::awake::REST;
use super::desk::Desk;
use super::fill::{Filler, refused, settle, settle_whole};
use super::frames::{FrameState, GROUP, GroupGuard, Whole, head};
use super::huge::HugeSwap;
use super::patience::Patience;
use super::room::Units;
use super::staging::zeros;
use super::stats::Source;
use super::streams::Plan;
use super::uffd::{Fault, Message, Range};
use super::{PagerError, Shared, cpus};
use crate::memory::FrameIndex;
use crate::store::Origin;

/// Part of the time that it takes to write a huge page.
const A_LITTLE: Duration = Duration::from_micros(100);

/// How many faults are read at once.
const BATCH: usize = 16;

/// Answers faults until the doorbell rings, as one of several threads.
pub fn run(shared: &Shared, desk: &Desk) {
    let filler = match Filler::new(shared) {
        Ok(filler) => filler,
        Err(error) => return shared.fail(error),
    };
    let server = Server {
        shared,
        desk,
        filler,
        patience: Patience::new(cpus()),
        aside: Aside::new(),
        faults: VecDeque::new(),
        leads: false,
        was_busy: false,
    };
    server.run();
}

struct Server<'a> {
    shared: &'a Shared,
    desk: &'a Desk,
    filler: Filler<'a>,
    patience: Patience,
    aside: Aside,
    /// Read and not answered.
    faults: VecDeque<Fault>,
    leads: bool,
    /// It gave up the lead for something slow.
    was_busy: bool,
}

/// What became of a fault's page where it is not out of RAM.
enum Rescue<'g> {
    /// It is there, or will be without more being done. From where, if that was done now.
    Done(Option<Source>),
    /// It is part of a huge page that is being written, and that is to come back whole: in a millisecond or so.
    Later,
    /// It is not there.
    Out(GroupGuard<'g>),
}

/// What to do after a fault was answered.
#[derive(Clone, Copy)]
enum Next {
    Nothing,
    /// Bring pages in ahead.
    Pages(Plan),
    /// Bring huge pages in ahead.
    Groups(Plan),
    /// Bring neighbours in.
    Around(Neighbours),
}

impl Server<'_> {
    fn run(mut self) {
        while self.desk.lead(std::mem::take(&mut self.was_busy)) {
            self.leads = true;
            while self.leads {
                if let Err(error) = self.turn() {
                    self.shared.fail(PagerError::Wait(error));
                    // Nobody listens any more: the doorbell must not wait for an answer.
                    let _ = self.shared.uffd.unregister(self.shared.staging.range());
                    return self.desk.close();
                }
            }
        }
    }

    /// Answers a fault.
    fn turn(&mut self) -> io::Result<()> {
        let Some(fault) = self.faults.pop_front().or_else(|| self.desk.unanswered()) else {
            return self.read();
        };
        let shared = self.shared;
        if fault.page == shared.staging.doorbell() {
            let _ = shared.uffd.copy(fault.page, zeros());
            self.desk.close();
            self.leads = false;
            return Ok(());
        }
        let start = Instant::now();
        let answered = self.serve(fault).and_then(|(source, next)| {
            if let Some(source) = source {
                let time = start.elapsed();
                shared.counters.served(source, time);
                if let Some(recorder) = &self.desk.recorder {
                    recorder.lock().record(shared, fault, source, start, time);
                }
            }
            self.work_ahead(next)
        });
        if let Err(error) = answered {
            shared.fail(error);
        }
        Ok(())
    }

    /// Waits for faults, first with open eyes.
    fn read(&mut self) -> io::Result<()> {
        let start = Instant::now();
        let patience = self.patience.now(self.desk.busy());
        let mut messages = [Message::default(); BATCH];
        loop {
            self.faults.extend(self.shared.uffd.read(&mut messages)?);
            if !self.faults.is_empty() {
                self.patience.learn(start.elapsed());
                if self.patience.is_worth_it() {
                    self.shared.awake.stay();
                }
                if patience > Duration::ZERO {
                    self.aside.answered();
                }
                return Ok(());
            }
            if start.elapsed() >= patience {
                self.sleep()?;
            }
        }
    }

    /// Waits until there are faults.
    fn sleep(&self) -> io::Result<()> {
        let Shared { uffd, awake, .. } = self.shared;
        if !(awake.stays() && uffd.wait(Some(REST))?) {
            awake.rest();
            uffd.wait(None)?;
        }
        Ok(())
    }

    fn pass_on(&mut self) {
        if std::mem::take(&mut self.leads) {
            self.was_busy = true;
            self.desk.pass(self.faults.drain(..));
        }
    }

    /// Brings the page in and wakes who waits for it. No source: there was nothing to do, or the pager is stopping.
    ///
    /// Each round looks at the state afresh; it takes another one if it had to wait for room.
    fn serve(&mut self, fault: Fault) -> Result<(Option<Source>, Next), PagerError> {
        let shared = self.shared;
        let frame = shared.ram.index_of_hva(fault.page).ok_or(PagerError::Stray(fault.page))?;
        let (mut units, mut stream) = (None::<Units<'_>>, None);
        loop {
            let guard = shared.frames.lock(frame);
            let guard = match self.rescue(fault, frame, guard)? {
                Rescue::Done(source) => return Ok((source, Next::Nothing)),
                Rescue::Later => {
                    self.pass_on();
                    thread::sleep(A_LITTLE);
                    continue;
                }
                Rescue::Out(guard) => guard,
            };
            let next = *stream.get_or_insert_with(|| self.observe(frame, &guard));
            let whole = self.comes_whole(frame, &guard, next);
            let needed = if whole { GROUP } else { 1 };
            units = units.filter(|units| units.count() >= needed);
            if units.is_none() {
                units = shared.room.try_take(needed, 0);
            }
            if let Some(units) = &mut units {
                let source = if whole {
                    self.pass_on();
                    self.filler.whole(guard, head(frame), units)?
                } else {
                    self.bring(fault, frame, guard, units)?
                };
                return Ok((Some(source), next));
            }
            drop(guard);
            // Others may need none: a page that is parked.
            self.pass_on();
            units = shared.room.take(needed);
            if units.is_none() {
                return Ok((None, Next::Nothing));
            }
        }
    }

    /// Deals with all pages that are in guest RAM, come anyway, or are parked.
    fn rescue<'g>(
        &self,
        fault: Fault,
        frame: FrameIndex,
        mut guard: GroupGuard<'g>,
    ) -> Result<Rescue<'g>, PagerError> {
        let shared = self.shared;
        match (guard.whole(), guard.state(frame)) {
            (Whole::Parked(berth), _) => {
                let moved = shared.staging.unpark_whole(&shared.uffd, berth, shared.hva(head(frame))?);
                moved.map_err(refused("rescue the group of", frame))?;
                settle_whole(shared, &mut guard, frame);
                Ok(Rescue::Done(Some(Source::Rescued)))
            }
            (Whole::No, FrameState::Resident(_)) if fault.protected => {
                // It was protected to see this write.
                shared
                    .uffd
                    .protect(Range::page(fault.page), false)
                    .map_err(refused("let writes to", frame))?;
                shared.marks.written(frame);
                shared.counters.caught.add(1);
                Ok(Rescue::Done(None))
            }
            (Whole::Resident, _) | (_, FrameState::Resident(_)) => {
                // Someone else's fault brought it in meanwhile.
                shared.uffd.wake(Range::page(fault.page)).map_err(refused("wake who waits for", frame))?;
                Ok(Rescue::Done(None))
            }
            (_, FrameState::Filling(_)) => Ok(Rescue::Done(None)),
            (_, FrameState::Parked(berth)) => {
                shared.staging.unpark(&shared.uffd, berth, fault.page).map_err(refused("rescue", frame))?;
                settle(shared, guard, frame, shared.staging.slot(berth), true);
                Ok(Rescue::Done(Some(Source::Rescued)))
            }
            (_, FrameState::Writing(berth))
                if shared.staging.sizes().is_huge(berth) && self.keeps_whole() =>
            {
                Ok(Rescue::Later)
            }
            (_, FrameState::Zero | FrameState::Writing(_) | FrameState::Stored(_)) => Ok(Rescue::Out(guard)),
        }
    }

    /// Whether huge pages stay huge, whatever it takes. A small page among them would leave a page table that no huge page
    /// can take the place of before Linux 6.14.
    fn keeps_whole(&self) -> bool {
        self.shared.huge.is_some_and(HugeSwap::follows_groups)
    }

    /// Whether the frame's group comes whole.
    fn comes_whole(&self, frame: FrameIndex, guard: &GroupGuard<'_>, next: Next) -> bool {
        let Some(huge) = self.shared.huge.filter(|_| self.shared.frames.has_whole_group(frame)) else {
            return false;
        };
        huge.brings_whole(guard, matches!(next, Next::Pages(plan) if plan.is_sure))
    }

    /// Brings in one page that is out, or whose frame is being written.
    fn bring(
        &mut self,
        fault: Fault,
        frame: FrameIndex,
        guard: GroupGuard<'_>,
        units: &mut Units<'_>,
    ) -> Result<Source, PagerError> {
        let shared = self.shared;
        match guard.state(frame) {
            FrameState::Writing(berth) => {
                shared
                    .uffd
                    .copy(fault.page, shared.staging.at(berth))
                    .map_err(refused("rescue a copy of", frame))?;
                units.keep(1);
                settle(shared, guard, frame, None, true);
                return Ok(Source::Rescued);
            }
            FrameState::Stored(slot) if shared.store.origin_of(slot) == Some(Origin::File) => self.pass_on(),
            _ => {}
        }
        self.filler.page(guard, frame, units, fault.write)
    }

    /// What a fault says of those that will come.
    fn observe(&self, frame: FrameIndex, guard: &GroupGuard<'_>) -> Next {
        let shared = self.shared;
        if !guard.state(frame).is_out() {
            return Next::Nothing;
        }
        let groups =
            shared.huge.is_some_and(HugeSwap::follows_groups) && shared.frames.has_whole_group(frame);
        let observed = if groups {
            shared.groups.lock().observe(FrameIndex(frame.0 / GROUP))
        } else {
            shared.streams.lock().observe(frame)
        };
        let unit = if groups { GROUP } else { 1 };
        shared.counters.used_ahead.add(u64::from(observed.used * unit));
        match observed.plan {
            Some(plan) if groups => Next::Groups(plan),
            Some(plan) => Next::Pages(plan),
            None if groups => Next::Nothing,
            None => self.look_around(frame, guard).map_or(Next::Nothing, Next::Around),
        }
    }

    /// What a fault that belongs to no stream says of its neighbours.
    fn look_around(&self, frame: FrameIndex, guard: &GroupGuard<'_>) -> Option<Neighbours> {
        let shared = self.shared;
        guard.state(frame).slot()?;
        let missed =
            Missed { frame, evicted: shared.ghosts.evictions(), came_back: shared.marks.is_ghost(frame) };
        let is_near = |other| match guard.state(other) {
            FrameState::Stored(slot) => shared.store.origin_of(slot) != Some(Origin::File),
            _ => false,
        };
        shared.around.lock().observe(missed, is_near)
    }

    fn work_ahead(&mut self, next: Next) -> Result<(), PagerError> {
        let shared = self.shared;
        match next {
            Next::Nothing => {}
            Next::Pages(plan) => {
                self.pass_on();
                let (brought, last) = self.filler.ahead(plan)?;
                shared.streams.lock().brought(&plan, brought, last);
            }
            Next::Groups(plan) => {
                self.pass_on();
                let (brought, last) = self.filler.groups_ahead(plan)?;
                shared.groups.lock().brought(&plan, brought, last);
            }
            Next::Around(neighbours) => {
                // They are in memory, so that is over soon: another thread is no sooner awake without a CPU of its own.
                if self.patience.has_cpu(self.desk.busy() + 1) {
                    self.pass_on();
                }
                let brought = self.filler.around(neighbours)?;
                shared.around.lock().brought(brought);
            }
        }
        Ok(())
    }
}
