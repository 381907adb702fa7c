//! How the host's KVM translates a guest's physical addresses: by the CPU (nested paging) or by shadow page tables.
//!
//! KVM has no call that says it. Its vendor modules do, by a parameter that is read-only once they are loaded
//! (Linux's Documentation/admin-guide/kernel-parameters.txt, kvm-intel.ept and kvm-amd.npt).

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

/// What stands between guest-physical and host-physical addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Translation {
    /// Intel's extended page tables, walked by the CPU.
    Ept,
    /// AMD's nested page tables, walked by the CPU.
    Npt,
    /// Page tables that KVM keeps in step with the guest's own.
    Shadow,
    /// No module says it.
    Unknown,
}

/// The second level of this host, and how that is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct SecondLevel {
    /// What it is.
    pub translation: Translation,
    /// The module of KVM that is loaded; `None`: none that is known here.
    pub module: Option<&'static str>,
}

/// Modules of KVM, each with its parameter that switches nested paging on. kvm_pvm, a hypervisor that needs no
/// virtualisation by the CPU, has none: it always shadows.
const MODULES: &[(&str, Option<(&str, Translation)>)] = &[
    ("kvm_intel", Some(("ept", Translation::Ept))),
    ("kvm_amd", Some(("npt", Translation::Npt))),
    ("kvm_pvm", None),
];

impl SecondLevel {
    /// Looks at the modules of the kernel that runs.
    #[must_use]
    pub fn of_this_host() -> Self {
        Self::of(Path::new("/sys/module"))
    }

    fn of(modules: &Path) -> Self {
        let loaded = MODULES.iter().find(|(name, _)| modules.join(name).is_dir());
        let Some(&(name, nested)) = loaded else {
            return Self { translation: Translation::Unknown, module: None };
        };
        let translation = match nested {
            None => Translation::Shadow,
            Some((parameter, nested)) => {
                match fs::read_to_string(modules.join(name).join("parameters").join(parameter)) {
                    Ok(value) if matches!(value.trim(), "Y" | "1") => nested,
                    Ok(_) => Translation::Shadow,
                    Err(_) => Translation::Unknown,
                }
            }
        };
        Self { translation, module: Some(name) }
    }
}

impl fmt::Display for SecondLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.translation {
            Translation::Ept => "EPT",
            Translation::Npt => "NPT",
            Translation::Shadow => "shadow page tables",
            Translation::Unknown => "unknown",
        })?;
        write!(f, " ({})", self.module.unwrap_or("no known module of KVM"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_module_that_is_loaded_says_it() {
        let modules = tempfile::tempdir().expect("a temporary folder");
        let said = |module: &str, parameter: Option<(&str, &str)>| {
            let folder = modules.path().join(module);
            fs::create_dir_all(folder.join("parameters")).expect("a folder");
            if let Some((name, value)) = parameter {
                fs::write(folder.join("parameters").join(name), value).expect("a file");
            }
            let said = SecondLevel::of(modules.path()).to_string();
            fs::remove_dir_all(folder).expect("it was made");
            said
        };
        assert_eq!(said("kvm", None), "unknown (no known module of KVM)");
        assert_eq!(said("kvm_amd", Some(("npt", "Y\n"))), "NPT (kvm_amd)");
        assert_eq!(said("kvm_amd", Some(("npt", "0\n"))), "shadow page tables (kvm_amd)");
        assert_eq!(said("kvm_intel", Some(("ept", "Y\n"))), "EPT (kvm_intel)");
        assert_eq!(said("kvm_intel", None), "unknown (kvm_intel)");
        assert_eq!(said("kvm_pvm", None), "shadow page tables (kvm_pvm)");
    }
}
