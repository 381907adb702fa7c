//! What going from one thread to another costs, in one process and between two, with PCID and without.

use super::guest::{explore, run as run_guest};
use super::{Cell, ExploreError, Finding};
use crate::machine::{Bundled, GuestPaging};
use crate::memory::Size;
use crate::report::Nanos;

/// Round trips.
const ROUNDS: usize = 100;
/// Pages that each side uses in its turn.
const PAGES: usize = 32;

/// One kind of partner.
struct Partner {
    name: &'static str,
    /// Whether the TLB kept address spaces apart.
    pcid: bool,
    pages: u64,
    switches: u64,
    round_ns: u64,
    /// What a switch adds to the calls themselves.
    switch_ns: Option<u64>,
}

pub fn run() -> Result<Finding, ExploreError> {
    let mut partners = partners(true)?;
    if partners.iter().any(|partner| partner.pcid) {
        partners.extend(self::partners(false)?);
    }
    let row = |partner: &Partner| {
        vec![
            partner.name.into(),
            if partner.pcid { "yes" } else { "no" }.into(),
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
        columns: &["partner", "pcid", "pages_used", "switches", "round_trip_p50_ns", "one_switch_ns"],
        rows: partners.iter().map(row).collect(),
        sentence: sentence(&partners),
    })
}

/// Those of one run, with PCID if that is wanted and the guest's CPU has it.
fn partners(pcid: bool) -> Result<Vec<Partner>, ExploreError> {
    let [rounds, pages] = [ROUNDS, PAGES].map(|number| number.to_string());
    let paging = GuestPaging { pcid, ..GuestPaging::default() };
    let program = explore(&["context-switch", &rounds, &pages]);
    let ran = run_guest(Bundled { ram: Size::mib(6), paging, ..program })?;
    let pcid = ran.guest()?.tlb_tags == 1;
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
        all.push(Partner { name, pcid, pages, switches, round_ns, switch_ns });
    }
    Ok(all)
}

fn sentence(partners: &[Partner]) -> String {
    let of = |name: &str, pcid: bool| -> Vec<(u64, u64)> {
        let some = partners.iter().filter(|partner| partner.name == name && partner.pcid == pcid);
        some.filter_map(|partner| Some((partner.pages, partner.switch_ns?))).collect()
    };
    let has_pcid = partners.iter().any(|partner| partner.pcid);
    let processes = of("another process", has_pcid);
    let pairs = of("another thread", has_pcid).into_iter().zip(&processes);
    let to_threads = pairs.map(|((pages, thread), &(_, process))| {
        let (relation, process, thread) = (relation(process, thread), Nanos(process), Nanos(thread));
        format!(
            "with {pages} pages used, a switch to another process ({process}) costs {relation} one to a \
             thread ({thread})"
        )
    });
    let mut parts: Vec<String> = to_threads.collect();
    if parts.is_empty() {
        return "There were no switches to compare.".to_owned();
    }
    if has_pcid {
        let without = of("another process", false);
        parts.extend(processes.iter().zip(without).map(|(&(pages, with), (_, without))| {
            let (relation, without) = (relation(without, with), Nanos(without));
            format!("without PCID the one with {pages} pages ({without}) costs {relation} with it")
        }));
    } else {
        parts.push("this host's KVM offers guests no PCID".to_owned());
    }
    let text = parts.join("; ");
    format!("{}{}.", text[..1].to_uppercase(), &text[1..])
}

/// How one duration stands to another.
fn relation(one: u64, other: u64) -> String {
    let times = one as f64 / other.max(1) as f64;
    match times {
        1.1.. => format!("{times:.2} times as much as"),
        0.9.. => "about as much as".to_owned(),
        _ => format!("less ({times:.2} times) than"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partners(pcid: bool, switches_ns: [u64; 2]) -> Vec<Partner> {
        let both = ["another thread", "another process"].into_iter().zip(switches_ns);
        both.map(|(name, ns)| Partner {
            name,
            pcid,
            pages: 32,
            switches: 200,
            round_ns: 0,
            switch_ns: Some(ns),
        })
        .collect()
    }

    #[test]
    fn what_pcid_saves_is_told_where_the_guest_has_it() {
        let mut both = partners(true, [1000, 1500]);
        both.extend(partners(false, [1000, 3000]));
        let text = sentence(&both);
        assert!(text.contains("(1.50 us) costs 1.50 times as much as one to a thread"), "{text}");
        assert!(
            text.ends_with(
                "without PCID the one with 32 pages (3.00 us) costs 2.00 times as much as with it."
            )
        );
    }

    #[test]
    fn a_host_without_pcid_is_told() {
        let text = sentence(&partners(false, [1000, 3000]));
        assert!(text.ends_with("this host's KVM offers guests no PCID."), "{text}");
        assert!(sentence(&[]).contains("no switches"));
    }
}
