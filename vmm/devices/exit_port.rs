//! The exit port: the guest's last word.

use abi::port::Exit;

use super::bus::BusDevice;
use super::outcome::{Ending, Outcome};

/// Decodes the 32-bit write at [`abi::port::EXIT`] and keeps it for the vCPU loop to see.
#[derive(Debug)]
pub struct ExitPort {
    outcome: Outcome,
}

impl ExitPort {
    /// Number of ports from [`abi::port::EXIT`] on.
    pub const PORTS: u64 = 4;

    /// An exit port that ends the run through `outcome`.
    #[must_use]
    pub const fn new(outcome: Outcome) -> Self {
        Self { outcome }
    }
}

impl BusDevice for ExitPort {
    fn read(&mut self, _offset: u64, data: &mut [u8]) {
        data.fill(0);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let Ok(bytes) = <[u8; 4]>::try_from(data) else { return };
        if offset == 0 {
            let value = u32::from_le_bytes(bytes);
            self.outcome.end(Exit::decode(value).map_or(Ending::UnknownExit(value), Ending::Exit));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(offset: u64, data: &[u8]) -> Option<Ending> {
        let outcome = Outcome::default();
        ExitPort::new(outcome.clone()).write(offset, data);
        outcome.get()
    }

    #[test]
    fn only_a_whole_word_at_the_port_ends_the_guest() {
        let exit = Exit::Signal(11);
        assert_eq!(written(0, &exit.encode().to_le_bytes()), Some(Ending::Exit(exit)));
        assert_eq!(written(0, &0x400_u32.to_le_bytes()), Some(Ending::UnknownExit(0x400)));
        assert_eq!(written(2, &[0; 4]), None);
        for len in [0, 1, 2, 3, 8] {
            assert_eq!(written(0, &vec![0; len]), None);
        }
    }
}
