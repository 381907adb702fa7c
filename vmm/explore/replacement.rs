//! Replacement policies: on the strings of the literature, and live.

use paging::policy::PolicyKind;
use paging::replay::{NextUses, Reference, lru, opt, replay};

use super::guest::{explore, file, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::devices::Access;
use crate::machine::{Bundled, GuestPaging};
use crate::measure::Random;
use crate::memory::Size;

/// Belady, Nelson, Shedler: An Anomaly in Space-Time Characteristics of Certain Programs, 1969.
const BELADY: [u32; 12] = [1, 2, 3, 4, 1, 2, 5, 1, 2, 3, 4, 5];
/// The string of the textbooks, such as Silberschatz's.
const TEXTBOOK: [u32; 20] = [7, 0, 1, 2, 0, 3, 0, 4, 2, 3, 0, 3, 2, 1, 2, 0, 1, 7, 0, 1];
/// Guest RAM for the live runs: about a hundred frames for the program's pages.
const RAM: Size = Size::from_pages(592);

/// One policy's faults.
struct Faults {
    policy: &'static str,
    belady: [u64; 2],
    textbook: u64,
    live: Option<Live>,
}

/// A run under the guest kernel.
struct Live {
    frames: u64,
    faults: u64,
    opt: u64,
}

pub fn run() -> Result<Finding, ExploreError> {
    let string = string();
    let mut all = Vec::new();
    for kind in PolicyKind::ALL {
        let faults =
            |string: &[u32], frames| replayed(string, |pages, all| replay(kind, frames, pages, all).faults);
        let live = Some(live(kind, &string)?);
        all.push(offline(kind.name(), faults, live));
    }
    let faults = |string: &[u32], frames| replayed(string, |pages, all| lru(frames, pages, all).faults);
    all.push(offline("lru", faults, None));
    all.push(offline("opt", best, None));
    Ok(Finding {
        experiment: "replacement",
        title: "Faults by policy: on Belady's string, on the textbooks' string, and in a guest whose \
                program uses pages at random."
            .to_owned(),
        columns: &[
            "policy",
            "belady_3_frames",
            "belady_4_frames",
            "textbook_3_frames",
            "live_frames",
            "live_faults",
            "live_opt",
            "over_opt",
        ],
        rows: all.iter().map(row).collect(),
        sentence: sentence(&all),
    })
}

fn offline(policy: &'static str, faults: impl Fn(&[u32], u32) -> u64, live: Option<Live>) -> Faults {
    Faults {
        policy,
        belady: [3, 4].map(|frames| faults(&BELADY, frames)),
        textbook: faults(&TEXTBOOK, 3),
        live,
    }
}

fn replayed(string: &[u32], faults: impl Fn(u32, &[Reference]) -> u64) -> u64 {
    let references: Vec<Reference> = string.iter().map(|&page| Reference::new(page, false)).collect();
    faults(string.iter().max().map_or(0, |last| last + 1), &references)
}

fn best(string: &[u32], frames: u32) -> u64 {
    replayed(string, |pages, all| opt(frames, pages, all, &NextUses::of(pages, all)).faults)
}

/// Runs the string in a guest, and OPT with as many frames as the program's pages ever had there.
fn live(policy: PolicyKind, string: &[u32]) -> Result<Live, ExploreError> {
    let bytes: Vec<u8> = string.iter().flat_map(|&page| (page as u16).to_le_bytes()).collect();
    let (data, _) = file("/references", &bytes, Access::ReadOnly)?;
    let program = explore(&["references", "/references"]);
    let ran = run_guest(Bundled {
        ram: RAM,
        paging: GuestPaging { policy, ..GuestPaging::default() },
        files: vec![data],
        ..program
    })?;
    let record = ran.first("references")?;
    let frames = record.number("frames")?;
    let opt = best(string, u32::try_from(frames).unwrap_or(u32::MAX));
    Ok(Live { frames, faults: record.number("faults")?, opt })
}

/// Four uses in five go to some of 48 pages, the others go on through 96 more.
fn string() -> Vec<u32> {
    let (mut random, mut scan) = (Random::new(1), 0);
    let page = |_| {
        let number = random.next();
        if number.is_multiple_of(5) {
            scan = (scan + 1) % 96;
            48 + scan
        } else {
            (number / 5 % 48) as u32
        }
    };
    (0..500).map(page).collect()
}

fn row(faults: &Faults) -> Vec<Cell> {
    let live = faults.live.as_ref();
    let over = live.map(|live| Cell::Part(live.over_opt()));
    vec![
        faults.policy.into(),
        faults.belady[0].into(),
        faults.belady[1].into(),
        faults.textbook.into(),
        live.map(|live| live.frames).into(),
        live.map(|live| live.faults).into(),
        live.map(|live| live.opt).into(),
        over.unwrap_or(Cell::Nothing),
    ]
}

impl Live {
    fn over_opt(&self) -> f64 {
        self.faults as f64 / self.opt.max(1) as f64 - 1.0
    }
}

fn sentence(all: &[Faults]) -> String {
    let with_anomaly: Vec<&str> =
        all.iter().filter(|faults| faults.belady[1] > faults.belady[0]).map(|faults| faults.policy).collect();
    let anomaly = if with_anomaly.is_empty() {
        "No policy faults more on Belady's string with one frame more".to_owned()
    } else {
        format!("With a fourth frame {} fault more on Belady's string, not less", with_anomaly.join(", "))
    };
    let by_distance = |faults: &&Faults| faults.live.as_ref().map(Live::over_opt);
    let mut live: Vec<(f64, &str)> =
        all.iter().filter_map(|faults| Some((by_distance(&faults)?, faults.policy))).collect();
    live.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (Some(nearest), Some(furthest)) = (live.first(), live.last()) else { return format!("{anomaly}.") };
    format!(
        "{anomaly}; in the guest {} came nearest to the best that was possible ({:+.0}% faults), {} least \
         near ({:+.0}%).",
        nearest.1,
        nearest.0 * 100.0,
        furthest.1,
        furthest.0 * 100.0
    )
}
