//! Each policy against a model that is too simple to be wrong.

use proptest::prelude::*;

use super::models::model;
use super::{AnyPolicy, PageKey, Pages, Policy, PolicyKind};

#[test]
fn a_name_leads_to_its_policy_and_anything_else_to_the_list_of_names() {
    for kind in PolicyKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(AnyPolicy::new(kind, 1).kind(), kind);
    }
    let error = "lifo".parse::<PolicyKind>().expect_err("no policy has this name");
    assert_eq!(
        error.to_string(),
        "no such replacement policy: choose one of fifo, clock, aging, sieve, s3fifo, wsclock"
    );
}

#[test]
fn a_victim_is_found_although_every_page_stays_referenced() {
    for kind in PolicyKind::ALL {
        let mut policy = AnyPolicy::new(kind, 4);
        (0..4).for_each(|frame| policy.insert(frame));
        let mut asked = 0;
        let victim = policy.victim(&mut |_: u32| {
            asked += 1;
            true
        });
        assert_eq!((victim, asked), (Some(0), if kind.asks_for_references() { 4 } else { 0 }), "{kind}");
    }
}

#[test]
fn a_policy_gives_each_frame_back_once() {
    for kind in PolicyKind::ALL {
        let mut policy = AnyPolicy::new(kind, 100);
        (0..100).for_each(|frame| policy.insert(frame));
        policy.remove(50);
        policy.remove(50);
        let mut victims: Vec<_> =
            std::iter::from_fn(|| policy.victim(&mut |frame: u32| frame.is_multiple_of(3))).collect();
        victims.sort_unstable();
        assert_eq!(victims, (0..100).filter(|&frame| frame != 50).collect::<Vec<_>>(), "{kind}");
    }
}

#[test]
fn wsclock_takes_an_old_clean_page_before_an_old_dirty_one() {
    let mut wsclock = AnyPolicy::new(PolicyKind::WsClock, 4);
    let mut owner = Owner::new(4);
    owner.dirty[..2].fill(true);
    (0..4).for_each(|frame| wsclock.insert(frame));
    (0..33).for_each(|_| wsclock.tick(&mut owner));
    owner.used[2] = true;
    assert_eq!(wsclock.victim(&mut owner), Some(3));
    assert_eq!(owner.dirty, [false; 4], "and the dirty ones are being written");
    assert_eq!(wsclock.victim(&mut owner), Some(0));
}

#[test]
fn s3fifo_knows_a_page_again_that_it_evicted_lately() {
    let mut s3fifo = AnyPolicy::new(PolicyKind::S3Fifo, 10);
    (0..10).for_each(|frame| s3fifo.insert_page(frame, PageKey(u64::from(frame))));
    let unused = &mut |_: u32| false;
    assert_eq!(s3fifo.victim(unused), Some(0));
    s3fifo.insert_page(0, PageKey(0));
    // In the main queue now: all others go before it.
    let victims: Vec<_> = std::iter::from_fn(|| s3fifo.victim(unused)).collect();
    assert_eq!(victims, [1, 2, 3, 4, 5, 6, 7, 8, 9, 0]);
}

/// Accessed and dirty bits.
#[derive(Clone, PartialEq, Debug)]
struct Owner {
    used: Vec<bool>,
    dirty: Vec<bool>,
}

impl Owner {
    fn new(frames: usize) -> Self {
        Self { used: vec![false; frames], dirty: vec![false; frames] }
    }
}

impl Pages for Owner {
    fn referenced(&mut self, frame: u32) -> bool {
        std::mem::take(&mut self.used[frame as usize])
    }

    fn is_dirty(&mut self, frame: u32) -> bool {
        std::mem::take(&mut self.dirty[frame as usize])
    }
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    InsertPage(u32, u64),
    Remove(u32),
    Use(u32),
    Write(u32),
    Victim,
    Tick,
}

fn step(frames: u32) -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..frames).prop_map(Step::Insert),
        4 => (0..frames, 0..30_u64).prop_map(|(frame, page)| Step::InsertPage(frame, page)),
        1 => (0..frames).prop_map(Step::Remove),
        5 => (0..frames).prop_map(Step::Use),
        1 => (0..frames).prop_map(Step::Write),
        4 => Just(Step::Victim),
        3 => Just(Step::Tick),
    ]
}

/// Few frames, of which some are held, or so many that a tick does not look at all of them.
fn history() -> impl Strategy<Value = (u32, Vec<Step>)> {
    prop_oneof![Just(12_u32), Just(150)]
        .prop_flat_map(|frames| (Just(frames), prop::collection::vec(step(frames), 0..300)))
}

proptest! {
    #[test]
    fn a_policy_does_what_its_model_does((frames, steps) in history()) {
        for kind in PolicyKind::ALL {
            let mut policy = AnyPolicy::new(kind, frames);
            let mut model = model(kind, frames);
            let mut owner = Owner::new(frames as usize);
            let mut held = vec![false; frames as usize];
            if frames > 12 {
                held.fill(true);
                (0..frames).for_each(|frame| {
                    policy.insert_page(frame, PageKey(1000 + u64::from(frame)));
                    model.insert_page(frame, PageKey(1000 + u64::from(frame)));
                });
            }
            for step in &steps {
                match *step {
                    Step::Insert(frame) | Step::InsertPage(frame, _) if held[frame as usize] => {}
                    Step::Insert(frame) => {
                        policy.insert(frame);
                        model.insert(frame);
                        held[frame as usize] = true;
                    }
                    Step::InsertPage(frame, page) => {
                        policy.insert_page(frame, PageKey(page));
                        model.insert_page(frame, PageKey(page));
                        held[frame as usize] = true;
                    }
                    Step::Remove(frame) => {
                        policy.remove(frame);
                        model.remove(frame);
                        held[frame as usize] = false;
                    }
                    Step::Use(frame) => owner.used[frame as usize] = true,
                    Step::Write(frame) => owner.dirty[frame as usize] = true,
                    Step::Victim => {
                        let mut models_owner = owner.clone();
                        let expected = model.victim(&mut models_owner);
                        prop_assert_eq!(policy.victim(&mut owner), expected, "{}", kind);
                        prop_assert_eq!(&owner, &models_owner, "{} asked of the same pages", kind);
                        expected.into_iter().for_each(|frame| held[frame as usize] = false);
                    }
                    Step::Tick => {
                        let mut models_owner = owner.clone();
                        model.tick(&mut models_owner);
                        policy.tick(&mut owner);
                        prop_assert_eq!(&owner, &models_owner, "{} asked of the same pages", kind);
                    }
                }
            }
        }
    }
}
