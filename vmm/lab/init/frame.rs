//! Messages on the serial port: a byte that names the kind, the payload's length in 4 bytes (little endian),
//! the payload.

use std::io::{self, Read, Write};

/// One message. All but [`Frame::Stdin`] go from the lab to its host.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Frame {
    /// The port is set up: from now on input may be sent.
    Ready,
    /// Bytes for standard input; none at its end.
    Stdin(Vec<u8>),
    /// Bytes from standard output.
    Stdout(Vec<u8>),
    /// Bytes from standard error.
    Stderr(Vec<u8>),
    /// Bytes of a file that a command has written, in order; none for an empty one.
    File {
        /// Which of the specification's outputs.
        number: u32,
        /// The bytes that follow those of the frame before.
        bytes: Vec<u8>,
    },
    /// What a command took, and the report that it wrote, if any.
    Taken {
        /// From its start to its end, in nanoseconds of the lab's clock.
        ns: u64,
        /// The file at [`crate::Spec::REPORT`].
        report: Vec<u8>,
    },
    /// The commands have ended with this status (128 + n for signal n). Nothing follows.
    Exit(u8),
    /// The lab itself failed, for this reason. Nothing follows.
    Failure(String),
}

/// Longest payload. A longer length means that the two sides are out of step.
const MAX_PAYLOAD: usize = 1 << 16;

impl Frame {
    /// Sends the message as one write.
    ///
    /// # Errors
    /// Those of the writer; `InvalidInput` for a payload over 64 KiB.
    pub fn send(&self, channel: &mut impl Write) -> io::Result<()> {
        let joined;
        let (kind, payload): (u8, &[u8]) = match self {
            Self::Ready => (b'R', &[]),
            Self::Stdin(bytes) => (b'I', bytes),
            Self::Stdout(bytes) => (b'O', bytes),
            Self::Stderr(bytes) => (b'E', bytes),
            Self::Taken { ns, report } => {
                joined = [&ns.to_le_bytes(), report.as_slice()].concat();
                (b'T', &joined)
            }
            Self::File { number, bytes } => {
                joined = [&number.to_le_bytes(), bytes.as_slice()].concat();
                (b'W', &joined)
            }
            Self::Exit(status) => (b'X', std::slice::from_ref(status)),
            Self::Failure(reason) => (b'F', reason.as_bytes()),
        };
        if payload.len() > MAX_PAYLOAD {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut message = Vec::with_capacity(5 + payload.len());
        message.push(kind);
        message.extend((payload.len() as u32).to_le_bytes());
        message.extend(payload);
        channel.write_all(&message)?;
        channel.flush()
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// Those of the reader, `UnexpectedEof` at its end, `InvalidData` for what is no message.
    pub fn receive(channel: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; 5];
        channel.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        let length = u32::from_le_bytes(length) as usize;
        if length > MAX_PAYLOAD {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut payload = vec![0; length];
        channel.read_exact(&mut payload)?;
        match (kind, payload.as_slice()) {
            (b'R', []) => Ok(Self::Ready),
            (b'I', _) => Ok(Self::Stdin(payload)),
            (b'O', _) => Ok(Self::Stdout(payload)),
            (b'E', _) => Ok(Self::Stderr(payload)),
            (b'T', [a, b, c, d, e, f, g, h, report @ ..]) => Ok(Self::Taken {
                ns: u64::from_le_bytes([*a, *b, *c, *d, *e, *f, *g, *h]),
                report: report.to_vec(),
            }),
            (b'W', [a, b, c, d, bytes @ ..]) => {
                Ok(Self::File { number: u32::from_le_bytes([*a, *b, *c, *d]), bytes: bytes.to_vec() })
            }
            (b'X', &[status]) => Ok(Self::Exit(status)),
            (b'F', _) => Ok(Self::Failure(String::from_utf8_lossy(&payload).into_owned())),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_survives_the_channel() {
        let frames = [
            Frame::Ready,
            Frame::Stdin(vec![]),
            Frame::Stdout(b"out\0\xff".to_vec()),
            Frame::Stderr(vec![7; MAX_PAYLOAD]),
            Frame::Taken { ns: 1 << 40, report: b"{}".to_vec() },
            Frame::File { number: 1 << 20, bytes: b"{}".to_vec() },
            Frame::Exit(139),
            Frame::Failure("no /dev/kvm".to_owned()),
        ];
        let mut channel = Vec::new();
        for frame in &frames {
            frame.send(&mut channel).expect("a vector takes it");
        }
        let mut reader = channel.as_slice();
        for frame in frames {
            assert_eq!(Frame::receive(&mut reader).expect("a whole frame"), frame);
        }
        assert!(reader.is_empty());
    }

    #[test]
    fn noise_is_no_frame() {
        for noise in [
            &b"Linux version 6.12"[..],
            b"T\x02\0\0\0{}",
            b"W\x02\0\0\0{}",
            b"X\0\0\0\0",
            b"X\x02\0\0\0ab",
            b"?\0\0\0\0",
        ] {
            assert_eq!(Frame::receive(&mut &*noise).map_err(|e| e.kind()), Err(io::ErrorKind::InvalidData));
        }
    }
}
