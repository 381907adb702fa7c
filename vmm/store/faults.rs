//! Faults on purpose: what a disk may do wrong, between the store and its file, for people who test what
//! depends on it.
//!
//! Every read and every write asks here what is to go wrong with it. With the same seed and the same order of
//! requests, the same goes wrong.

use std::ops::RangeInclusive;
use std::str::FromStr;
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::io::Errno;
use thiserror::Error;

use crate::measure::Random;

/// What is to go wrong, and when; as text `read-eio=0.01,write-enospc@100..200,delay=5ms:0.1,seed=1`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FaultSpec {
    rules: Vec<Rule>,
    seed: u64,
}

#[derive(Clone, Debug, PartialEq)]
struct Rule {
    fault: Fault,
    when: When,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    /// With this probability.
    Chance(f64),
    /// At the reads, or writes, of these numbers; the first is 0.
    At(u64, u64),
}

/// A thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The request fails.
    Error(Request, Errno),
    /// Only a part is written or read, and that is said.
    Short,
    /// Only a part is written, and success is said.
    Torn,
    /// A bit of what is read is wrong.
    Flip,
    /// The request comes late.
    Delay(Duration),
}

/// What is asked of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Request {
    Read,
    Write,
}

/// Why a text says nothing about faults.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum FaultSpecError {
    /// There is no such fault.
    #[error("there is no fault {0:?}")]
    Unknown(String),
    /// A value that does not fit its name.
    #[error(
        "{0:?}: write NAME=CHANCE with a chance from 0 to 1, NAME@FIRST..LAST, delay=5ms:CHANCE or seed=NUMBER"
    )]
    Value(String),
}

impl FaultSpec {
    /// Everything that an item can begin with.
    pub const NAMES: [&'static str; 8] =
        ["read-eio", "write-eio", "write-enospc", "short", "torn", "flip", "delay", "seed"];
}

impl FromStr for FaultSpec {
    type Err = FaultSpecError;

    fn from_str(text: &str) -> Result<Self, FaultSpecError> {
        let mut spec = Self::default();
        for item in text.split(',') {
            let wrong = || FaultSpecError::Value(item.to_owned());
            let name = item.split(['=', '@']).next().unwrap_or_default();
            let (sign, value) = item[name.len()..].split_at_checked(1).unwrap_or_default();
            let fault = match name {
                "read-eio" => Fault::Error(Request::Read, Errno::IO),
                "write-eio" => Fault::Error(Request::Write, Errno::IO),
                "write-enospc" => Fault::Error(Request::Write, Errno::NOSPC),
                "short" => Fault::Short,
                "torn" => Fault::Torn,
                "flip" => Fault::Flip,
                "delay" => {
                    let (time, value) = value.split_once(':').ok_or_else(wrong)?;
                    let fault = Fault::Delay(milliseconds(time).ok_or_else(wrong)?);
                    spec.rules.push(Rule { fault, when: when(sign, value).ok_or_else(wrong)? });
                    continue;
                }
                "seed" => {
                    spec.seed = value.parse().map_err(|_| wrong())?;
                    continue;
                }
                unknown => return Err(FaultSpecError::Unknown(unknown.to_owned())),
            };
            spec.rules.push(Rule { fault, when: when(sign, value).ok_or_else(wrong)? });
        }
        Ok(spec)
    }
}

fn when(sign: &str, value: &str) -> Option<When> {
    if sign == "@" {
        let (first, last) = value.split_once("..").unwrap_or((value, value));
        return Some(When::At(first.parse().ok()?, last.parse().ok()?));
    }
    let chance: f64 = value.parse().ok()?;
    (sign == "=" && (0.0..=1.0).contains(&chance)).then_some(When::Chance(chance))
}

fn milliseconds(time: &str) -> Option<Duration> {
    time.strip_suffix("ms")?.parse().ok().map(Duration::from_millis)
}

/// Decides what goes wrong.
#[derive(Debug)]
pub(super) struct Faults {
    rules: Vec<Rule>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    random: Random,
    reads: u64,
    writes: u64,
}

impl Faults {
    pub(super) fn new(spec: FaultSpec) -> Self {
        let state = State { random: Random::new(spec.seed), reads: 0, writes: 0 };
        Self { rules: spec.rules, state: Mutex::new(state) }
    }

    /// What goes wrong with the next request of a kind; a delay is over when this returns.
    pub(super) fn next(&self, request: Request) -> Option<Fault> {
        if self.rules.is_empty() {
            return None;
        }
        let (fault, delay) = self.draw(request);
        if let Some(delay) = delay {
            thread::sleep(delay);
        }
        fault
    }

    fn draw(&self, request: Request) -> (Option<Fault>, Option<Duration>) {
        let mut state = self.state.lock();
        let count = if request == Request::Read { &mut state.reads } else { &mut state.writes };
        let number = *count;
        *count += 1;
        let (mut fault, mut delay) = (None, None);
        for rule in &self.rules {
            let concerned = match rule.fault {
                Fault::Error(of, _) => of == request,
                Fault::Torn => request == Request::Write,
                Fault::Flip => request == Request::Read,
                Fault::Short | Fault::Delay(_) => true,
            };
            let now = concerned
                && match rule.when {
                    // 53 bits, as many as a fraction has.
                    When::Chance(chance) => {
                        ((state.random.next() >> 11) as f64) < chance * (1_u64 << 53) as f64
                    }
                    When::At(first, last) => RangeInclusive::new(first, last).contains(&number),
                };
            match rule.fault {
                _ if !now => {}
                Fault::Delay(time) => delay = Some(time),
                other => fault = fault.or(Some(other)),
            }
        }
        (fault, delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_come_when_they_were_ordered() {
        let spec: FaultSpec = "write-enospc@2..3,read-eio@1,seed=7".parse().expect("well formed");
        let faults = Faults::new(spec);
        let writes: Vec<_> = (0..5).map(|_| faults.next(Request::Write)).collect();
        let full = Some(Fault::Error(Request::Write, Errno::NOSPC));
        assert_eq!(writes, [None, None, full, full, None]);
        let reads: Vec<_> = (0..3).map(|_| faults.next(Request::Read)).collect();
        assert_eq!(reads, [None, Some(Fault::Error(Request::Read, Errno::IO)), None]);
    }

    #[test]
    fn a_chance_is_met_and_the_same_seed_does_the_same() {
        let draw = |seed| {
            let faults = Faults::new(format!("flip=0.25,seed={seed}").parse().expect("well formed"));
            (0..1000).map(|_| faults.next(Request::Read).is_some()).collect::<Vec<_>>()
        };
        let hits = draw(1).iter().filter(|hit| **hit).count();
        assert!((200..300).contains(&hits), "{hits}");
        assert!(draw(1) == draw(1) && draw(1) != draw(2));
    }

    #[test]
    fn what_cannot_be_understood_is_refused() {
        let parse = |text: &str| text.parse::<FaultSpec>().map(|_| ());
        assert_eq!(parse("raed-eio=1"), Err(FaultSpecError::Unknown("raed-eio".to_owned())));
        for text in ["flip", "flip=2", "flip=-1", "flip=x", "delay=5:0.1", "delay=5ms", "torn@1..x", "seed=a"]
        {
            assert_eq!(parse(text), Err(FaultSpecError::Value(text.to_owned())));
        }
        assert!(matches!(parse(""), Err(FaultSpecError::Unknown(_))));
    }
}
