//! The command line that measures a cell: `bifold run`, here or in the lab.

use std::path::Path;

use crate::memory::{Backing, Size};
use crate::pager::PagerKind;

/// The longest that one run may take, in seconds: far more than any should, and yet an end.
const TIMEOUT: &str = "600";

/// What `bifold` is to be called with. Axes change it; the rest is the same for all cells.
#[derive(Clone, Debug)]
pub struct Invocation {
    /// Guest RAM.
    pub ram: Size,
    /// The guest's swap disk; `None`: as large as `run` makes it.
    pub swap: Option<Size>,
    /// What a built-in workload works on.
    pub size: Option<Size>,
    /// What backs guest RAM.
    pub backing: Option<Backing>,
    /// Guest RAM / host budget; at 1 there is no budget.
    pub ratio: f64,
    /// Who keeps the budget, where there is one.
    pub pager: Option<PagerKind>,
    /// Whether it runs in the lab, and then, with nested paging.
    pub lab_npt: Option<bool>,
    options: Vec<String>,
}

impl Invocation {
    /// With nothing varied.
    #[must_use]
    pub const fn new(ram: Size, swap: Option<Size>) -> Self {
        Self {
            ram,
            swap,
            size: None,
            backing: None,
            ratio: 1.0,
            pager: None,
            lab_npt: None,
            options: Vec::new(),
        }
    }

    /// Adds an option of `run` that belongs to one axis alone.
    pub fn option(&mut self, name: &str, value: &str) {
        self.options.push(format!("{name}={value}"));
    }

    /// The arguments that run `program` and write the report to `report`.
    #[must_use]
    pub fn arguments(&self, report: &Path, program: &[String]) -> Vec<String> {
        let mut words = self.place();
        words.extend(["run".to_owned(), format!("--ram={}", in_kib(self.ram))]);
        words.extend(self.swap.map(|swap| format!("--swap={}", in_kib(swap))));
        words.extend(self.backing.map(|backing| format!("--backing={backing}")));
        words.extend(self.host_ram().map(|budget| format!("--host-ram={}", in_kib(budget))));
        let pager = self.pager.filter(|_| self.ratio > 1.0);
        words.extend(pager.map(|pager| format!("--host-pager={}", pager.name())));
        words.extend(self.options.iter().cloned());
        words.extend([format!("--timeout={TIMEOUT}"), format!("--json={}", report.display())]);
        words.push("--".to_owned());
        words.extend(program.iter().cloned());
        words
    }

    /// What comes before `run`.
    fn place(&self) -> Vec<String> {
        let Some(npt) = self.lab_npt else { return vec!["--host=kvm".to_owned()] };
        let npt = if npt { "on" } else { "off" };
        let mut words = ["lab", "run", "--npt", npt, "--timeout", TIMEOUT].map(str::to_owned).to_vec();
        // The emulated host sets aside what this machine would have to.
        if let Some(Backing::Pool(page)) = self.backing {
            let unit = if page.bytes() == 1 << 30 { "1G" } else { "2M" };
            let pages = self.ram.bytes().div_ceil(page.bytes());
            words.push(format!("--hugepages={unit}={pages}"));
        }
        words.push("--".to_owned());
        words
    }

    /// The host's budget, a whole number of pages.
    fn host_ram(&self) -> Option<Size> {
        let pages = (self.ram.pages() as f64 / self.ratio) as u32;
        (self.ratio > 1.0).then(|| Size::from_pages(pages))
    }
}

/// A size as `run` reads it back.
fn in_kib(size: Size) -> String {
    format!("{}K", size.bytes() >> 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(invocation: &Invocation) -> String {
        invocation.arguments(Path::new("/r"), &["prog".to_owned(), "--x".to_owned()]).join(" ")
    }

    #[test]
    fn a_plain_cell_is_a_run_under_this_machines_kvm() {
        let plain = line(&Invocation::new(Size::mib(64), None));
        assert_eq!(plain, "--host=kvm run --ram=65536K --timeout=600 --json=/r -- prog --x");
    }

    #[test]
    fn every_axis_reaches_the_command_line() {
        let mut cell = Invocation::new(Size::mib(64), Some(Size::mib(8)));
        (cell.ratio, cell.backing, cell.lab_npt) = (2.5, "hugetlb-2m".parse().ok(), Some(false));
        cell.pager = Some(PagerKind::Kernel);
        cell.option("--host-policy", "sieve");
        let expected = "lab run --npt off --timeout 600 --hugepages=2M=32 -- run --ram=65536K --swap=8192K \
                        --backing=hugetlb-2m --host-ram=26212K --host-pager=kernel --host-policy=sieve --timeout=600 --json=/r -- prog --x";
        assert_eq!(line(&cell), expected);
    }
}
