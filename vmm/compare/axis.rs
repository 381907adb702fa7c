//! The axes of a comparison: what can be varied, in one table. A new axis is a new entry in [`AXES`].

use crate::inventory::Inventory;
use crate::memory::{Backing, Size};
use crate::pager::{SWAP_ON, check_swap};
use paging::policy::PolicyKind;

use super::invocation::Invocation;
use super::nearest::nearest;

/// Something that a comparison varies.
#[derive(Debug)]
pub struct Axis {
    /// Its name on the command line.
    pub name: &'static str,
    /// What it varies.
    pub about: &'static str,
    /// Whether it changes the work and not the machine. Cells with different work are not compared with each
    /// other.
    pub is_load: bool,
    values: Values,
    apply: fn(&str, &mut Invocation),
    verdict: fn(&str, &Inventory) -> Verdict,
}

#[derive(Debug)]
enum Values {
    /// These.
    OneOf(&'static [&'static str]),
    /// Any text of a form.
    Form { what: &'static str, is: fn(&str) -> bool, examples: &'static [&'static str] },
}

/// Whether this host can do a value of an axis.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It can.
    Works,
    /// It cannot.
    Lacks {
        /// Why, and what to do.
        reason: String,
        /// What root types to change that, where that is all it takes.
        command: Option<String>,
    },
}

/// All of them, in the order in which tables show them.
pub static AXES: &[Axis] = &[
    Axis {
        name: "size",
        about: "how much memory a built-in workload works on",
        is_load: true,
        values: Values::Form { what: "a size, such as 16M", is: is_size, examples: &[] },
        apply: |value, invocation| invocation.size = value.parse().ok(),
        verdict: |_, _| Verdict::Works,
    },
    Axis {
        name: "backing",
        about: "what backs guest RAM on the host",
        is_load: false,
        values: Values::OneOf(&["4k", "thp", "hugetlb-2m", "hugetlb-1g"]),
        apply: |value, invocation| invocation.backing = value.parse().ok(),
        verdict: |value, _| value.parse().map_or(Verdict::Works, backing),
    },
    Axis {
        name: "guest-page",
        about: "the largest pages of the program's memory, in the guest's own page tables",
        is_load: false,
        values: Values::OneOf(&["4k", "2m", "1g"]),
        apply: |value, invocation| invocation.option("--guest-page", value),
        verdict: guest_page,
    },
    Axis {
        name: "ratio",
        about: "guest RAM / host budget; 1 leaves guest RAM to the host's kernel, unpaged",
        is_load: false,
        values: Values::Form { what: "a number of at least 1", is: is_ratio, examples: &["1", "2"] },
        apply: |value, invocation| invocation.ratio = value.parse().unwrap_or(1.0),
        verdict: ratio,
    },
    Axis {
        name: "mmu",
        about: "the second level, in the lab: nested page tables or shadow page tables",
        is_load: false,
        values: Values::OneOf(&["npt", "shadow"]),
        apply: |value, invocation| invocation.lab_npt = Some(value == "npt"),
        verdict: |_, _| lab(),
    },
    Axis {
        name: "host-pager",
        about: "who keeps the host's budget; makes no difference at a ratio of 1",
        is_load: false,
        values: Values::OneOf(&["uffd", "kernel"]),
        apply: |value, invocation| invocation.pager = value.parse().ok(),
        verdict: |value, host| if value == "kernel" { host_swap() } else { ratio("2", host) },
    },
    Axis {
        name: "host-policy",
        about: "which pages the host evicts",
        is_load: false,
        values: Values::OneOf(&PolicyKind::NAMES),
        apply: |value, invocation| invocation.option("--host-policy", value),
        verdict: |_, host| ratio("2", host),
    },
    Axis {
        name: "guest-policy",
        about: "which pages the guest evicts",
        is_load: false,
        values: Values::OneOf(&PolicyKind::NAMES),
        apply: |value, invocation| invocation.option("--guest-policy", value),
        verdict: |_, _| Verdict::Works,
    },
];

impl Axis {
    /// The axis of this name.
    ///
    /// # Errors
    /// There is none; the message names the nearest.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        AXES.iter().find(|axis| axis.name == name).ok_or_else(|| {
            let names = AXES.iter().map(|axis| axis.name);
            format!("there is no axis {name:?}{}", nearest(name, names))
        })
    }

    /// Whether `value` is one of this axis.
    ///
    /// # Errors
    /// It is not; the message says what is.
    pub fn check(&self, value: &str) -> Result<(), String> {
        match &self.values {
            Values::OneOf(values) if values.contains(&value) => Ok(()),
            Values::OneOf(values) => {
                let near = nearest(value, values.iter().copied());
                Err(format!("axis {} has no value {value:?}{near}", self.name))
            }
            Values::Form { is, .. } if is(value) => Ok(()),
            Values::Form { what, .. } => {
                Err(format!("axis {} has no value {value:?}: write {what}", self.name))
            }
        }
    }

    /// Puts a value that was checked into a command.
    pub fn apply(&self, value: &str, invocation: &mut Invocation) {
        (self.apply)(value, invocation);
    }

    /// What this host makes of each value, or of some where they are without end.
    #[must_use]
    pub fn verdicts(&self, host: &Inventory) -> Vec<(&'static str, Verdict)> {
        let (Values::OneOf(values) | Values::Form { examples: values, .. }) = self.values;
        values.iter().map(|value| (*value, (self.verdict)(value, host))).collect()
    }
}

fn is_size(value: &str) -> bool {
    value.parse::<Size>().is_ok()
}

fn is_ratio(value: &str) -> bool {
    value.parse::<f64>().is_ok_and(|ratio| ratio.is_finite() && ratio >= 1.0)
}

fn backing(backing: Backing) -> Verdict {
    // As much as the huge pages of this backing allow to begin with.
    let ram = if let Backing::Pool(page) = backing { page.max(super::RAM) } else { super::RAM };
    match backing.check(ram, false) {
        Ok(()) => Verdict::Works,
        Err(error) => Verdict::Lacks { reason: error.to_string(), command: error.command() },
    }
}

fn ratio(value: &str, host: &Inventory) -> Verdict {
    match &host.userfaultfd.error {
        Some(reason) if value != "1" => Verdict::Lacks {
            reason: reason.clone(),
            command: reason
                .contains("unprivileged_userfaultfd")
                .then(|| "sysctl vm.unprivileged_userfaultfd=1".to_owned()),
        },
        _ => Verdict::Works,
    }
}

fn host_swap() -> Verdict {
    match check_swap() {
        Ok(()) => Verdict::Works,
        Err(error) => Verdict::Lacks { reason: error.to_string(), command: Some(SWAP_ON.to_owned()) },
    }
}

/// A guest whose CPU has no pages of 1 GiB makes do with those of 2 MiB, which is another cell.
fn guest_page(value: &str, host: &Inventory) -> Verdict {
    let feature = host.kvm.features.iter().find(|feature| feature.name == "guest 1 GiB pages");
    if value != "1g" || feature.is_some_and(|feature| feature.present) {
        return Verdict::Works;
    }
    Verdict::Lacks { reason: "KVM gives guests no pages of 1 GiB here".to_owned(), command: None }
}

fn lab() -> Verdict {
    if crate::lab::is_installed() {
        return Verdict::Works;
    }
    let reason = "the lab's QEMU or its kernel is not here; it is fetched with apt when it is first used";
    Verdict::Lacks { reason: reason.to_owned(), command: Some("bifold lab doctor".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mistyped_axis_or_value_is_answered_with_the_nearest() {
        let unknown = Axis::named("bakcing").expect_err("no such axis");
        assert!(unknown.contains("bakcing") && unknown.contains("backing"), "{unknown}");
        let axis = Axis::named("host-policy").expect("an axis");
        let unknown = axis.check("clok").expect_err("no such value");
        assert!(unknown.contains("\"clock\""), "{unknown}");
        let unknown = Axis::named("ratio").expect("an axis").check("0.5").expect_err("no such value");
        assert!(unknown.contains("at least 1"), "{unknown}");
    }

    #[test]
    fn every_axis_takes_what_it_names() {
        for axis in AXES {
            let (Values::OneOf(values) | Values::Form { examples: values, .. }) = axis.values;
            assert!(values.iter().all(|value| axis.check(value).is_ok()), "{}", axis.name);
        }
        assert!(Backing::ALL.iter().all(|backing| AXES[1].check(backing.name()).is_ok()), "in step");
    }
}
