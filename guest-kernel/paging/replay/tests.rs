//! Replays against the textbook's figures, and against memories that are too simple to be wrong.

use proptest::prelude::*;

use super::{NextUses, Reference, Tally, lru, opt, replay};
use crate::policy::PolicyKind;

const PAGES: u32 = 10;
const BELADY: [u32; 12] = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5];
const TEXTBOOK: [u32; 20] = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1];

fn reads(string: &[u32]) -> Vec<Reference> {
    string.iter().map(|&page| Reference::new(page, false)).collect()
}

fn faults(kind: PolicyKind, frames: u32, string: &[u32]) -> u64 {
    replay(kind, frames, PAGES, &reads(string)).faults
}

fn lru_faults(frames: u32, string: &[u32]) -> u64 {
    lru(frames, PAGES, &reads(string)).faults
}

fn opt_faults(frames: u32, string: &[u32]) -> u64 {
    let references = reads(string);
    opt(frames, PAGES, &references, &NextUses::of(PAGES, &references)).faults
}

#[test]
fn fifo_shows_beladys_anomaly_and_lru_and_opt_do_not() {
    assert_eq!([3, 4].map(|frames| faults(PolicyKind::Fifo, frames, &BELADY)), [9, 10]);
    assert_eq!([3, 4].map(|frames| lru_faults(frames, &BELADY)), [10, 8]);
    assert_eq!([3, 4].map(|frames| opt_faults(frames, &BELADY)), [7, 6]);
}

#[test]
fn faults_on_the_textbook_string_are_the_textbooks() {
    assert_eq!(faults(PolicyKind::Fifo, 3, &TEXTBOOK), 15);
    assert_eq!(faults(PolicyKind::Clock, 3, &TEXTBOOK), 14);
    assert_eq!(lru_faults(3, &TEXTBOOK), 12);
    assert_eq!(opt_faults(3, &TEXTBOOK), 9);
}

#[test]
fn aging_is_lru_where_a_tick_comes_with_each_reference() {
    for (frames, string) in [(3, &BELADY[..]), (4, &BELADY), (3, &TEXTBOOK)] {
        assert_eq!(faults(PolicyKind::Aging, frames, string), lru_faults(frames, string));
    }
}

#[test]
fn a_scan_through_a_hot_set_costs_sieve_and_s3fifo_less_than_lru() {
    // Forty hot pages in random order, and a page that is never used again after every second of them.
    let mut state = 1_u32;
    let mut string = Vec::new();
    for cold in 0..2000 {
        for _ in 0..2 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            string.push((state >> 16) % 40);
        }
        string.push(40 + cold);
    }
    let references = reads(&string);
    let least = lru(50, 2040, &references).faults;
    for kind in [PolicyKind::Sieve, PolicyKind::S3Fifo] {
        let faults = replay(kind, 50, 2040, &references).faults;
        assert!(faults * 10 < least * 9, "{kind}: {faults}, lru: {least}");
    }
}

#[test]
fn wsclock_writes_ahead_and_never_a_page_twice_for_one_change() {
    // Sixteen pages are written once, then others are read in turn.
    let written = (0..16).map(|page| Reference::new(page, true));
    let references: Vec<_> = written.chain((0..400).map(|n| Reference::new(16 + n % 64, false))).collect();
    assert_eq!(replay(PolicyKind::WsClock, 32, 80, &references).writes, 16);
}

/// A victim's place among the resident pages; what is chosen from is their order and the references to come.
type Choose = fn(resident: &[u32], past: &[u32], future: &[u32]) -> usize;

fn model(frames: u32, references: &[Reference], choose: Choose) -> Tally {
    let pages: Vec<u32> = references.iter().map(|reference| reference.page()).collect();
    let mut tally = Tally::default();
    let (mut resident, mut dirty) = (Vec::new(), Vec::new());
    for (now, reference) in references.iter().enumerate() {
        let page = reference.page();
        if !resident.contains(&page) {
            tally.faults += 1;
            if resident.len() == frames as usize {
                let victim = resident.remove(choose(&resident, &pages[..now], &pages[now..]));
                tally.writes += u64::from(dirty.contains(&victim));
                dirty.retain(|&page| page != victim);
            }
            resident.push(page);
        }
        if reference.is_write() && !dirty.contains(&page) {
            dirty.push(page);
        }
    }
    tally
}

/// The place of the largest.
fn largest(keys: impl Iterator<Item = usize>) -> usize {
    keys.enumerate().max_by_key(|&(_, key)| key).map_or(0, |(index, _)| index)
}

fn first_in(_: &[u32], _: &[u32], _: &[u32]) -> usize {
    0
}

fn least_recently_used(resident: &[u32], past: &[u32], _: &[u32]) -> usize {
    largest(resident.iter().map(|page| past.iter().rev().take_while(|&other| other != page).count()))
}

fn latest_used(resident: &[u32], _: &[u32], future: &[u32]) -> usize {
    largest(resident.iter().map(|page| future.iter().take_while(|&other| other != page).count()))
}

fn strings() -> impl Strategy<Value = Vec<Reference>> {
    prop::collection::vec(
        (0..PAGES, any::<bool>()).prop_map(|(page, write)| Reference::new(page, write)),
        0..200,
    )
}

proptest! {
    #[test]
    fn fifo_lru_and_opt_fault_as_their_models_do(frames in 1..12_u32, references in strings()) {
        let expected = model(frames, &references, first_in);
        prop_assert_eq!(replay(PolicyKind::Fifo, frames, PAGES, &references), expected);
        prop_assert_eq!(lru(frames, PAGES, &references), model(frames, &references, least_recently_used));
        let optimum = opt(frames, PAGES, &references, &NextUses::of(PAGES, &references));
        // Among pages that are never used again, any may go; which decides what is written, not what faults.
        prop_assert_eq!(optimum.faults, model(frames, &references, latest_used).faults);
    }

    #[test]
    fn no_policy_beats_opt_and_none_faults_where_all_fits(frames in 1..12_u32, references in strings()) {
        let optimum = opt(frames, PAGES, &references, &NextUses::of(PAGES, &references)).faults;
        let mut touched: Vec<u32> = references.iter().map(|reference| reference.page()).collect();
        touched.sort_unstable();
        touched.dedup();
        for kind in PolicyKind::ALL {
            let tally = replay(kind, frames, PAGES, &references);
            prop_assert!(tally.faults >= optimum, "{}: {} < {}", kind, tally.faults, optimum);
            if touched.len() <= frames as usize {
                prop_assert_eq!(tally, Tally { faults: touched.len() as u64, writes: 0 });
            }
        }
    }
}
