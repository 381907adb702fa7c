//! I/O ports.

/// 16550 serial port: the kernel's log (and a foreign kernel's console).
pub const SERIAL: u16 = 0x3f8;
/// Interrupt line of [`SERIAL`].
pub const SERIAL_IRQ: u32 = 4;
/// A 32-bit write here ends the guest; the value is [`Exit::encode`]'s.
pub const EXIT: u16 = 0x0f4;
/// A 32-bit write here hands over [`crate::trace::Buffer`].
pub const TRACE: u16 = 0x0f8;
/// A write here waits for an interrupt, as `hlt` does. `hlt` itself would be for the CPU alone to know of: see the VMM's `vm.rs`.
pub const IDLE: u16 = 0x0fc;

/// How the guest ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// The program exited with this status.
    Status(u8),
    /// The program was killed by this signal.
    Signal(u8),
    /// The kernel met a state that it cannot go on from; its message went to the serial port.
    Panic,
    /// The program could not be started; the value is the Linux error number.
    ExecFailed(u8),
}

impl Exit {
    /// The value to write to [`EXIT`]: the kind in bits 8 to 15, its detail in bits 0 to 7.
    #[must_use]
    pub const fn encode(self) -> u32 {
        match self {
            Self::Status(status) => status as u32,
            Self::Signal(signal) => 0x100 | signal as u32,
            Self::Panic => 0x200,
            Self::ExecFailed(errno) => 0x300 | errno as u32,
        }
    }

    /// The reverse of [`Exit::encode`]; `None` for a value that no kernel of ours writes.
    #[must_use]
    pub const fn decode(value: u32) -> Option<Self> {
        let detail = (value & 0xff) as u8;
        match value >> 8 {
            0 => Some(Self::Status(detail)),
            1 => Some(Self::Signal(detail)),
            2 => Some(Self::Panic),
            3 => Some(Self::ExecFailed(detail)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Exit;

    #[test]
    fn every_exit_survives_the_port() {
        for exit in [Exit::Status(0), Exit::Status(255), Exit::Signal(11), Exit::Panic, Exit::ExecFailed(8)] {
            assert_eq!(Exit::decode(exit.encode()), Some(exit));
        }
        assert_eq!(Exit::decode(0x400), None);
    }
}
