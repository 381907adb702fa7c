//! The host's processors, as /proc/cpuinfo has them.

use std::fmt;
use std::fs;

use serde::Serialize;

use super::{Feature, list};

/// Flags of /proc/cpuinfo that matter here, each with its usual name.
const FLAGS: &[(&str, &str)] = &[
    ("vmx", "VMX"),
    ("svm", "SVM"),
    ("ept", "EPT"),
    ("npt", "NPT"),
    ("pdpe1gb", "1 GiB pages"),
    ("pcid", "PCID"),
    ("invpcid", "INVPCID"),
    ("la57", "5-level paging"),
];

/// The processors.
#[derive(Debug, Serialize)]
pub struct Cpu {
    /// What the maker calls them.
    pub model: String,
    /// How many Linux runs on.
    pub count: usize,
    /// What they can do for paging, by what the kernel shows.
    pub features: Vec<Feature>,
}

impl Cpu {
    pub(super) fn of_this_host() -> Self {
        Self::of(&fs::read_to_string("/proc/cpuinfo").unwrap_or_default())
    }

    fn of(cpuinfo: &str) -> Self {
        let values = |name: &'static str| {
            let fields = cpuinfo.lines().filter_map(|line| line.split_once(':'));
            fields.filter(move |(field, _)| field.trim() == name).map(|(_, value)| value.trim())
        };
        let flags: Vec<&str> = values("flags").next().unwrap_or_default().split_whitespace().collect();
        let feature = |&(flag, name): &(&str, &'static str)| Feature { name, present: flags.contains(&flag) };
        Self {
            model: values("model name").next().unwrap_or("unknown").to_owned(),
            count: values("processor").count(),
            features: FLAGS.iter().map(feature).collect(),
        }
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {} CPUs\n              ", self.model, self.count)?;
        list(f, &self.features)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_count_and_flags_are_read() {
        let one = "processor\t: 0\nmodel name\t: A CPU: fast\nflags\t\t: fpu svm npt\n\n";
        let cpu = Cpu::of(&format!("{one}{}", one.replace(": 0", ": 1")));
        assert_eq!((cpu.model.as_str(), cpu.count), ("A CPU: fast", 2));
        let has = |name| cpu.features.iter().any(|feature| feature.name == name && feature.present);
        assert_eq!(["SVM", "NPT", "VMX", "1 GiB pages"].map(has), [true, true, false, false]);
        assert_eq!(Cpu::of("").count, 0);
    }
}
