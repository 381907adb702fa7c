//! What going from one thread to another costs, in one process and between two.

use super::guest::{Ran, explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::machine::Bundled;
use crate::memory::Size;
use crate::report::Nanos;

/// Round trips.
const ROUNDS: usize = 100;
/// Pages that each side uses in its turn.
const PAGES: usize = 32;

/// One kind of partner.
struct Partner {
    name: &'static str,
    pages: u64,
    switches: u64,
    round_ns: u64,
    /// What a switch adds to the calls themselves.
    switch_ns: Option<u64>,
}

pub fn run() -> Result<Finding, ExploreError> {
    let [rounds, pages] = [ROUNDS, PAGES].map(|number| number.to_string());
    let program = explore(&["context-switch", &rounds, &pages]);
    let ran = run_guest(Bundled { ram: Size::mib(6), ..program })?;
    let partners = partners(&ran)?;
    let row = |partner: &Partner| {
        vec![
            partner.name.into(),
            partner.pages.into(),
            partner.switches.into(),
            Cell::Nanos(partner.round_ns),
            partner.switch_ns.map_or(Cell::Nothing, Cell::Nanos),
        ]
    };
    Ok(Finding {
        experiment: "context-switch",
        title:
            "A byte goes through a pipe and one comes back, 50 times; each side uses some pages in its turn."
                .to_owned(),
        columns: &["partner", "pages_used", "switches", "round_trip_p50_ns", "one_switch_ns"],
        rows: partners.iter().map(row).collect(),
        sentence: sentence(&partners),
    })
}

fn partners(ran: &Ran) -> Result<Vec<Partner>, ExploreError> {
    let (mut all, mut calls_ns) = (Vec::new(), 0);
    for record in ran.all("rounds") {
        let rounds = record.number("rounds")?;
        let round_ns = ran.nanoseconds(record.number("cycles")?);
        let (pages, switches) = (record.number("pages")?, record.number("switches")?);
        let name = match record.text("partner")? {
            "none" => "itself: the calls alone",
            "thread" => "another thread",
            _ => "another process",
        };
        let is_alone = switches < rounds;
        if is_alone {
            calls_ns = round_ns;
        }
        // There and back.
        let switch_ns = (!is_alone).then(|| round_ns.saturating_sub(calls_ns) / 2);
        all.push(Partner { name, pages, switches, round_ns, switch_ns });
    }
    Ok(all)
}

fn sentence(partners: &[Partner]) -> String {
    let of = |name: &str| -> Vec<(u64, u64)> {
        let some = partners.iter().filter(|partner| partner.name == name);
        some.filter_map(|partner| Some((partner.pages, partner.switch_ns?))).collect()
    };
    let pairs: Vec<_> = of("another thread").into_iter().zip(of("another process")).collect();
    let compared = pairs.iter().map(|((pages, thread), (_, process))| {
        let times = *process as f64 / (*thread).max(1) as f64;
        let relation = match times {
            1.1.. => format!("{times:.2} times as much as"),
            0.9.. => "about as much as".to_owned(),
            _ => format!("less ({times:.2} times) than"),
        };
        let (process, thread) = (Nanos(*process), Nanos(*thread));
        format!(
            "with {pages} pages used, a switch to another process ({process}) costs {relation} one to a \
             thread ({thread})"
        )
    });
    let compared: Vec<String> = compared.collect();
    if compared.is_empty() {
        return "There were no switches to compare.".to_owned();
    }
    let text = compared.join("; ");
    format!("{}{}.", text[..1].to_uppercase(), &text[1..])
}
