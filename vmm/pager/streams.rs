//! Streams: faults that follow each other at an even distance, such as those of a program that walks through an array.
//!
//! A page that is brought in ahead of its fault costs a fraction of one that is waited for. How far ahead grows with
//! each time that the stream goes on where its window ended (as Linux's readahead does: 4 pages, 8, 16 ...): that is also the one sign,
//! on a host that sees no accessed bits, that the pages before were used.

use crate::memory::FrameIndex;

/// How many streams are followed at once.
const STREAMS: usize = 8;
/// The first window, in pages.
const FIRST_WINDOW: u32 = 4;
/// The farthest that two faults of a stream are apart.
const FARTHEST: i64 = 16;

/// Frames to bring in, at an even distance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Plan {
    /// The first.
    pub first: i64,
    /// From one to the next; not 0.
    pub stride: i64,
    /// How many.
    pub count: u32,
    /// Which stream it is for.
    stream: usize,
    /// Whether the stream has gone on for so long that pages which were never used are worth bringing in, too.
    pub is_sure: bool,
}

impl Plan {
    /// The frames, those that cannot exist left out.
    pub fn frames(self) -> impl Iterator<Item = FrameIndex> {
        (0..i64::from(self.count))
            .map_while(move |step| u32::try_from(self.first + step * self.stride).ok())
            .map(FrameIndex)
    }
}

#[derive(Clone, Copy, Default, Debug)]
struct Stream {
    /// The last page that was asked for or brought in ahead.
    last: i64,
    /// 0: only one fault was seen.
    stride: i64,
    /// How often it went on as foreseen.
    runs: u32,
    window: u32,
    /// Pages that were brought in ahead and not yet proved of use.
    pending: u32,
    /// When it was last seen, in faults.
    seen: u64,
}

/// The streams.
#[derive(Debug)]
pub struct Streams {
    streams: [Stream; STREAMS],
    most: u32,
    faults: u64,
}

/// What a fault says.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Observed {
    /// What to bring in now.
    pub plan: Option<Plan>,
    /// Pages that were brought in ahead and turn out to have been used.
    pub used: u32,
}

impl Streams {
    /// No streams yet; none is followed farther ahead than `most` pages.
    pub fn new(most: u32) -> Self {
        // Where nothing was ever seen, a fault far below 0 was.
        let never = Stream { last: i64::MIN / 2, ..Stream::default() };
        Self { streams: [never; STREAMS], most, faults: 0 }
    }

    /// From now on none is followed farther ahead than that.
    pub const fn set_most(&mut self, most: u32) {
        self.most = most;
    }

    /// A page was asked for.
    pub fn observe(&mut self, frame: FrameIndex) -> Observed {
        self.faults += 1;
        let (frame, now) = (i64::from(frame.0), self.faults);
        let found = self.streams.iter().position(|stream| stream.concerns(frame));
        let number = found.unwrap_or_else(|| self.oldest());
        let stream = &mut self.streams[number];
        stream.seen = now;
        if found.is_none() {
            *stream = Stream { last: frame, seen: now, ..Stream::default() };
            return Observed::default();
        }
        if stream.is_ahead_of(frame) {
            // The program is faster than who works ahead.
            return Observed::default();
        }
        let used = stream.go_on(frame, self.most);
        let plan = stream.is_followed().then(|| stream.plan(number));
        Observed { plan, used }
    }

    /// Of a plan, pages were brought in, up to the frame `last`.
    pub fn brought(&mut self, plan: &Plan, pages: u32, last: Option<FrameIndex>) {
        let stream = &mut self.streams[plan.stream];
        let planned = plan.first + i64::from(plan.count - 1) * plan.stride;
        // Unless another stream has taken its place meanwhile.
        if stream.stride == plan.stride && stream.last == planned {
            stream.pending += pages;
            stream.last = last.map_or(plan.first - plan.stride, |last| i64::from(last.0));
        }
    }

    fn oldest(&self) -> usize {
        let oldest = self.streams.iter().enumerate().min_by_key(|(_, stream)| stream.seen);
        oldest.map_or(0, |(number, _)| number)
    }
}

impl Stream {
    /// Whether a fault belongs to it: the next one, the second one, or one on the way.
    fn concerns(&self, frame: i64) -> bool {
        let distance = frame - self.last;
        match self.stride {
            0 => distance != 0 && distance.abs() <= FARTHEST,
            stride => self.steps_over(distance, stride) || self.is_ahead_of(frame),
        }
    }

    /// Whether this is the next fault, where some pages on the way were there already.
    fn steps_over(&self, distance: i64, stride: i64) -> bool {
        distance % stride == 0
            && (1..=if self.is_followed() { FARTHEST } else { 1 }).contains(&(distance / stride))
    }

    fn is_ahead_of(&self, frame: i64) -> bool {
        let (behind, reach) = (self.last - frame, i64::from(self.window) * self.stride);
        self.stride != 0
            && self.window > 0
            && behind.signum() * self.stride.signum() >= 0
            && behind.abs() < reach.abs()
    }

    /// Takes the fault in. Returns how many pages it proves to have been of use.
    fn go_on(&mut self, frame: i64, most: u32) -> u32 {
        if self.stride == 0 {
            self.stride = frame - self.last;
        }
        self.runs += 1;
        self.last = frame;
        if self.is_followed() {
            self.window = (self.window * 2).max(FIRST_WINDOW).min(most);
        }
        std::mem::take(&mut self.pending)
    }

    /// Neighbours are followed from the second on, others from the third.
    const fn is_followed(&self) -> bool {
        self.runs >= if self.stride.abs() == 1 { 1 } else { 2 }
    }

    fn plan(&mut self, stream: usize) -> Plan {
        let plan = Plan {
            first: self.last + self.stride,
            stride: self.stride,
            count: self.window,
            stream,
            is_sure: self.runs > 2,
        };
        self.last += i64::from(self.window) * self.stride;
        plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observe(streams: &mut Streams, frame: u32) -> Observed {
        let observed = streams.observe(FrameIndex(frame));
        if let Some(plan) = observed.plan {
            streams.brought(&plan, plan.count, plan.frames().last());
        }
        observed
    }

    #[test]
    fn neighbours_are_followed_in_windows_that_double_and_each_proves_the_one_before() {
        let mut streams = Streams::new(16);
        assert_eq!(observe(&mut streams, 100), Observed::default());
        let mut fault = 101;
        for (window, used) in [(4, 0), (8, 4), (16, 8), (16, 16)] {
            let observed = observe(&mut streams, fault);
            let plan = observed.plan.expect("it is a stream");
            assert_eq!((plan.first, plan.count, observed.used), (i64::from(fault) + 1, window, used));
            fault += window + 1;
        }
        streams.set_most(6);
        let plan = observe(&mut streams, fault).plan.expect("it goes on");
        assert_eq!(plan.count, 6);
    }

    #[test]
    fn a_stride_is_followed_from_the_third_fault_on_also_downwards() {
        let mut streams = Streams::new(64);
        assert_eq!(observe(&mut streams, 1000).plan, None);
        assert_eq!(observe(&mut streams, 993).plan, None);
        let plan = observe(&mut streams, 986).plan.expect("thrice");
        assert_eq!(plan.frames().map(|frame| frame.0).collect::<Vec<_>>(), [979, 972, 965, 958]);
    }

    #[test]
    fn several_streams_are_followed_at_once_and_random_faults_are_not() {
        let mut streams = Streams::new(64);
        for base in [0, 10_000, 20_000] {
            observe(&mut streams, base);
        }
        for base in [0, 10_000, 20_000] {
            assert!(observe(&mut streams, base + 1).plan.is_some());
        }
        let planned = (0..1000_u32).filter(|step| {
            let frame = step.wrapping_mul(2_654_435_761) >> 8;
            observe(&mut streams, frame).plan.is_some()
        });
        assert!(planned.count() < 5);
    }

    #[test]
    fn a_program_that_catches_up_does_not_break_its_stream() {
        let mut streams = Streams::new(64);
        observe(&mut streams, 0);
        let plan = streams.observe(FrameIndex(1)).plan.expect("neighbours");
        assert_eq!(streams.observe(FrameIndex(3)), Observed::default(), "it is on its way");
        streams.brought(&plan, 4, Some(FrameIndex(5)));
        assert_eq!(observe(&mut streams, 6).used, 4);
    }

    #[test]
    fn a_plan_ends_where_frames_do() {
        let mut streams = Streams::new(64);
        for frame in [4, 3] {
            observe(&mut streams, frame);
        }
        let plan = observe(&mut streams, 0).plan;
        assert!(plan.is_none_or(|plan| plan.frames().count() == 0));
    }
}
