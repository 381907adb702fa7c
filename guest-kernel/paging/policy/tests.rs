//! The policies against the textbook's figures, and against models that are too simple to be wrong.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{AnyPolicy, Policy, PolicyKind};

/// Faults of a reference string with a number of frames, by page: one policy index a page.
fn faults(kind: PolicyKind, frames: usize, string: &[u32]) -> usize {
    let mut policy = AnyPolicy::new(kind, 10);
    let mut referenced = [false; 10];
    let mut resident = Vec::new();
    let mut faults = 0;
    for &page in string {
        if !resident.contains(&page) {
            faults += 1;
            if resident.len() == frames {
                let victim = policy
                    .victim(&mut |page| std::mem::take(&mut referenced[page as usize]))
                    .expect("a page is resident");
                resident.retain(|&page| page != victim);
            }
            resident.push(page);
            policy.insert(page);
        }
        referenced[page as usize] = true;
    }
    faults
}

const BELADY: [u32; 12] = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5];
const TEXTBOOK: [u32; 20] = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1];

#[test]
fn fifo_shows_beladys_anomaly() {
    assert_eq!(faults(PolicyKind::Fifo, 3, &BELADY), 9);
    assert_eq!(faults(PolicyKind::Fifo, 4, &BELADY), 10);
}

#[test]
fn faults_on_the_textbook_string_are_the_textbooks() {
    assert_eq!(faults(PolicyKind::Fifo, 3, &TEXTBOOK), 15);
    assert_eq!(faults(PolicyKind::Clock, 3, &TEXTBOOK), 14);
}

#[test]
fn a_name_leads_to_its_policy_and_anything_else_to_the_list_of_names() {
    for kind in PolicyKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(AnyPolicy::new(kind, 1).kind(), kind);
    }
    let error = "lifo".parse::<PolicyKind>().expect_err("no policy has this name");
    assert_eq!(error.to_string(), "no such replacement policy: choose one of fifo, clock");
}

#[test]
fn clock_finds_a_victim_although_every_page_stays_referenced() {
    let mut clock = AnyPolicy::new(PolicyKind::Clock, 4);
    (0..4).for_each(|frame| clock.insert(frame));
    let mut asked = 0;
    let victim = clock.victim(&mut |_| {
        asked += 1;
        true
    });
    assert_eq!((victim, asked), (Some(0), 4), "each is asked once");
}

/// A queue from the hand on. It does what its policy does, in the plainest way.
struct Model {
    kind: PolicyKind,
    queue: VecDeque<u32>,
}

impl Model {
    fn victim(&mut self, referenced: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        if self.kind == PolicyKind::Clock {
            for _ in 0..self.queue.len() {
                let frame = *self.queue.front()?;
                if !referenced(frame) {
                    break;
                }
                self.queue.rotate_left(1);
            }
        }
        self.queue.pop_front()
    }
}

const FRAMES: u32 = 12;

#[derive(Clone, Debug)]
enum Step {
    Insert(u32),
    Remove(u32),
    Touch(u32),
    Victim,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0..FRAMES).prop_map(Step::Insert),
        1 => (0..FRAMES).prop_map(Step::Remove),
        3 => (0..FRAMES).prop_map(Step::Touch),
        2 => Just(Step::Victim),
    ]
}

proptest! {
    #[test]
    fn a_policy_does_what_its_model_does(
        kind in prop_oneof![Just(PolicyKind::Fifo), Just(PolicyKind::Clock)],
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut policy = AnyPolicy::new(kind, FRAMES);
        let mut model = Model { kind, queue: VecDeque::new() };
        let mut used = [false; FRAMES as usize];
        for step in steps {
            match step {
                Step::Insert(frame) if !model.queue.contains(&frame) => {
                    policy.insert(frame);
                    model.queue.push_back(frame);
                }
                Step::Insert(_) => {}
                Step::Remove(frame) => {
                    policy.remove(frame);
                    model.queue.retain(|&other| other != frame);
                }
                Step::Touch(frame) => used[frame as usize] = true,
                Step::Victim => {
                    let mut used_for_model = used;
                    let expected = model.victim(&mut |frame| std::mem::take(&mut used_for_model[frame as usize]));
                    let actual = policy.victim(&mut |frame| std::mem::take(&mut used[frame as usize]));
                    prop_assert_eq!(actual, expected);
                    prop_assert_eq!(used, used_for_model, "the same pages were asked");
                }
            }
        }
    }
}
