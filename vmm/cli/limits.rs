//! Sizes that cannot work, refused before anything is started; and the one limit that is ours to raise.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use thiserror::Error;

use crate::memory::Size;

/// More guest RAM than this no table here is made for.
const MOST_RAM: Size = Size::mib(4 << 20);

/// Why sizes were refused.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LimitError {
    /// More than [`MOST_RAM`].
    #[error("--ram {0} is more than {MOST_RAM}, the most that a guest can have")]
    Ram(Size),
    /// More than there is on the host.
    #[error(
        "{option} {size} is larger than this machine's memory, {memory}: give less, or a smaller --host-ram"
    )]
    Machine {
        /// Which.
        option: &'static str,
        /// What was asked for.
        size: Size,
        /// What there is.
        memory: Size,
    },
    /// A budget larger than what it is for.
    #[error("--host-ram {budget} is more than --ram {ram}: give less, or leave it out to keep all resident")]
    Budget {
        /// The budget.
        budget: Size,
        /// Guest RAM.
        ram: Size,
    },
}

/// Checks guest RAM and host budget against each other and against this machine.
pub fn check(ram: Size, budget: Option<Size>) -> Result<(), LimitError> {
    check_against(ram, budget, machine_memory())
}

fn check_against(ram: Size, budget: Option<Size>, memory: Size) -> Result<(), LimitError> {
    if ram > MOST_RAM {
        return Err(LimitError::Ram(ram));
    }
    if let Some(budget) = budget.filter(|&budget| budget > ram) {
        return Err(LimitError::Budget { budget, ram });
    }
    let (option, size) = budget.map_or(("--ram", ram), |budget| ("--host-ram", budget));
    if size > memory {
        return Err(LimitError::Machine { option, size, memory });
    }
    Ok(())
}

/// Lets this process open as many files as it may: each file that the guest sees is open. Where that does not work, opening the
/// one too many says so.
pub fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn machine_memory() -> Size {
    let info = rustix::system::sysinfo();
    let bytes = info.totalram * u64::from(info.mem_unit.max(1));
    Size::from_bytes(bytes & !4095).unwrap_or(MOST_RAM)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_must_be_resident_must_fit_the_machine() {
        let [small, large, memory] = [1 << 10, 64 << 10, 8 << 10].map(Size::mib);
        assert_eq!(check_against(small, None, memory), Ok(()));
        assert_eq!(check_against(large, Some(small), memory), Ok(()), "overcommitted");
        let refused = check_against(large, None, memory);
        assert_eq!(refused, Err(LimitError::Machine { option: "--ram", size: large, memory }));
        let refused = check_against(large, Some(large), memory);
        assert_eq!(refused, Err(LimitError::Machine { option: "--host-ram", size: large, memory }));
    }

    #[test]
    fn a_budget_is_at_most_guest_ram() {
        let [ram, budget] = [64, 65].map(Size::mib);
        assert_eq!(check(ram, Some(budget)), Err(LimitError::Budget { budget, ram }));
        assert_eq!(check(Size::mib(8 << 20), None), Err(LimitError::Ram(Size::mib(8 << 20))));
    }
}
