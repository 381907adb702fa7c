//! Which host a guest runs on: this machine, or the lab where this machine has no KVM.

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::process::ExitCode;

use crate::lab::{self, Job, Machine};
use crate::machine::{Hypervisor, VmError};

/// A host for guests, as a user asks for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum)]
pub enum Host {
    /// This machine's /dev/kvm.
    Kvm,
    /// The lab's.
    Lab,
}

/// The host that is used.
pub enum Chosen {
    /// This machine, by what makes VMs on it.
    Kvm(Hypervisor),
    /// The lab.
    Lab,
}

/// The host that was asked for, or else the better one of those that work, saying so if that is the lab.
///
/// # Errors
/// KVM was asked for and cannot be used.
pub fn choose(asked: Option<Host>) -> Result<Chosen, VmError> {
    match asked {
        Some(Host::Kvm) => Hypervisor::open().map(Chosen::Kvm),
        Some(Host::Lab) => Ok(Chosen::Lab),
        None => Ok(Hypervisor::open().map_or_else(|error| go_on_in_lab(&error), Chosen::Kvm)),
    }
}

fn go_on_in_lab(error: &VmError) -> Chosen {
    eprintln!("bifold: {error}. Going on in the lab, a host emulated in software; --host kvm prevents it");
    Chosen::Lab
}

/// Runs this very command line in the lab, for as long as it takes. `asked`: `--host` is in it.
pub fn run_in_lab(asked: bool) -> Result<ExitCode, Box<dyn Error>> {
    let words = env::args_os().skip(1).map(OsString::into_string);
    let mut arguments = words
        .collect::<Result<Vec<_>, _>>()
        .map_err(|word| format!("{}: not UTF-8; rename the file to take it to the lab", word.display()))?;
    if asked {
        remove_host(&mut arguments);
    }
    // In the lab there is no other host to go to.
    arguments.insert(0, "--host=kvm".to_owned());
    let status = lab::run(&Machine::default(), Job::bifold(arguments)?, None)?;
    Ok(ExitCode::from(status))
}

/// Takes out the first `--host VALUE` or `--host=VALUE`. What follows it may be the program's own.
fn remove_host(arguments: &mut Vec<String>) {
    if let Some(at) = arguments.iter().position(|word| word == "--host" || word.starts_with("--host=")) {
        let words = if arguments[at] == "--host" { 2 } else { 1 };
        arguments.drain(at..arguments.len().min(at + words));
    }
}

#[cfg(test)]
mod tests {
    use super::remove_host;

    #[test]
    fn only_the_commands_own_host_option_is_taken_out() {
        for (given, left) in [
            ("run --host lab prog --host x", "run prog --host x"),
            ("--host=lab run prog", "run prog"),
            ("--host lab", ""),
            ("run prog", "run prog"),
        ] {
            let mut arguments: Vec<String> = given.split_whitespace().map(str::to_owned).collect();
            remove_host(&mut arguments);
            assert_eq!(arguments.join(" "), left);
        }
    }
}
