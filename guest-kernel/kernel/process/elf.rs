//! Executable files (System V gABI, chapters 4 and 5). The file is the program's author's: nothing in it is trusted.

use alloc::vec::Vec;

use abi::addr::{Gva, PAGE_SIZE};
use abi::files::MAX_PATH;

use crate::vm::page::Rights;
use crate::vm::table::USER_END;

/// Length of the ELF header.
pub const HEADER: usize = 64;
/// Length of a program header.
pub const PROGRAM_HEADER: usize = 56;
const MAX_PROGRAM_HEADERS: u64 = 128;

/// It is not an executable that can be run here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NotExecutable;

/// What the ELF header says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// Whether it can be loaded anywhere (PIE, or an interpreter).
    pub relocatable: bool,
    /// Where it starts, before relocation.
    pub entry: u64,
    /// Where the program headers are in the file.
    pub headers_at: u64,
    /// How many there are.
    pub headers: usize,
}

/// A part of the file that is mapped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Where it goes, before relocation.
    pub address: u64,
    /// Where it is in the file; as far into a page as the address is.
    pub offset: u64,
    /// Bytes from the file.
    pub file_bytes: u64,
    /// Bytes in memory, the rest zeros.
    pub memory_bytes: u64,
    /// What the program may do there.
    pub rights: Rights,
}

/// What the program headers say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Program {
    /// At least one.
    pub segments: Vec<Segment>,
    /// Address of the program headers in memory, before relocation; 0 where they are not loaded.
    pub headers_address: u64,
    /// Where the path of the program's interpreter is in the file, and its length with the NUL; none for a static program.
    pub interpreter: Option<(u64, usize)>,
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> Result<u64, NotExecutable> {
    let field = bytes.get(at..at + N).ok_or(NotExecutable)?;
    let mut word = [0; 8];
    word[..N].copy_from_slice(field);
    Ok(u64::from_le_bytes(word))
}

impl Header {
    /// Reads the header from a file's first [`HEADER`] bytes.
    ///
    /// # Errors
    /// Not a 64-bit little-endian x86-64 executable.
    pub fn parse(bytes: &[u8]) -> Result<Self, NotExecutable> {
        const EXECUTABLE: u64 = 2;
        const DYNAMIC: u64 = 3;
        const X86_64: u64 = 62;
        let kind = number::<2>(bytes, 16)?;
        let headers = number::<2>(bytes, 56)?;
        let right = bytes.starts_with(b"\x7fELF\x02\x01\x01")
            && matches!(kind, EXECUTABLE | DYNAMIC)
            && number::<2>(bytes, 18)? == X86_64
            && number::<2>(bytes, 54)? == PROGRAM_HEADER as u64
            && (1..=MAX_PROGRAM_HEADERS).contains(&headers);
        if !right {
            return Err(NotExecutable);
        }
        Ok(Self {
            relocatable: kind == DYNAMIC,
            entry: number::<8>(bytes, 24)?,
            headers_at: number::<8>(bytes, 32)?,
            headers: headers as usize,
        })
    }
}

impl Program {
    /// Reads the program headers, `bytes` being all of them.
    ///
    /// # Errors
    /// A segment is impossible: unaligned, outside the user's addresses, larger in the file than in memory.
    pub fn parse(header: &Header, bytes: &[u8]) -> Result<Self, NotExecutable> {
        const LOAD: u64 = 1;
        const INTERPRETER: u64 = 3;
        let mut program = Self { segments: Vec::new(), headers_address: 0, interpreter: None };
        for bytes in bytes.chunks_exact(PROGRAM_HEADER) {
            match number::<4>(bytes, 0)? {
                INTERPRETER => {
                    let len = number::<8>(bytes, 32)?;
                    if !(2..=MAX_PATH as u64 + 1).contains(&len) {
                        return Err(NotExecutable);
                    }
                    program.interpreter = Some((number::<8>(bytes, 8)?, len as usize));
                    continue;
                }
                LOAD => {}
                _ => continue,
            }
            let segment = Segment::parse(bytes)?;
            let headers = header.headers_at.wrapping_sub(segment.offset);
            if program.headers_address == 0 && headers < segment.file_bytes {
                program.headers_address = segment.address.wrapping_add(headers);
            }
            if segment.memory_bytes > 0 {
                program.segments.push(segment);
            }
        }
        if program.segments.is_empty() { Err(NotExecutable) } else { Ok(program) }
    }
}

impl Segment {
    fn parse(bytes: &[u8]) -> Result<Self, NotExecutable> {
        let flags = number::<4>(bytes, 4)?;
        let segment = Self {
            offset: number::<8>(bytes, 8)?,
            address: number::<8>(bytes, 16)?,
            file_bytes: number::<8>(bytes, 32)?,
            memory_bytes: number::<8>(bytes, 40)?,
            rights: Rights::new(flags & 4 != 0, flags & 2 != 0, flags & 1 != 0),
        };
        let end = segment.address.checked_add(segment.memory_bytes).ok_or(NotExecutable)?;
        let page = PAGE_SIZE as u64;
        let right = segment.file_bytes <= segment.memory_bytes
            && Gva(end) <= Gva(USER_END.0 - page)
            && segment.address % page == segment.offset % page
            && segment
                .offset
                .checked_add(segment.file_bytes)
                .is_some_and(|end| end < u64::from(u32::MAX) * page);
        if right { Ok(segment) } else { Err(NotExecutable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Vec<u8> {
        let mut bytes = vec![0; HEADER];
        bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        for (at, value) in [(16, 2), (18, 62), (54, 56), (56, 1)] {
            bytes[at] = value;
        }
        bytes
    }

    fn load(address: u64, offset: u64, file: u64, memory: u64) -> Vec<u8> {
        let mut bytes = vec![0; PROGRAM_HEADER];
        bytes[0] = 1;
        for (at, value) in [(8, offset), (16, address), (32, file), (40, memory)] {
            bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn what_is_not_for_this_machine_is_refused() {
        assert!(Header::parse(&header()).is_ok());
        for (at, value) in [(0, 0), (4, 1), (5, 2), (16, 1), (18, 3), (54, 32), (56, 0)] {
            let mut bytes = header();
            bytes[at] = value;
            assert_eq!(Header::parse(&bytes), Err(NotExecutable), "byte {at}");
        }
        assert_eq!(Header::parse(&header()[..40]), Err(NotExecutable));
    }

    #[test]
    fn impossible_segments_are_refused() {
        let header = Header::parse(&header()).unwrap();
        assert!(Program::parse(&header, &load(0x40_0000, 0, 10, 20)).is_ok());
        for (address, offset, file, memory) in [
            (0x40_0000, 1, 10, 20),
            (0x40_0000, 0, 30, 20),
            (USER_END.0 - 0x1000, 0, 10, 20),
            (!0xfff, 0, 10, 0x2000),
            (0x40_0000, !0xfff, 0x1000, 0x2000),
        ] {
            let bytes = load(address, offset, file, memory);
            assert_eq!(Program::parse(&header, &bytes), Err(NotExecutable), "{address:#x} {offset:#x}");
        }
        let mut interpreter = load(0x40_0000, 0, 10, 20);
        interpreter[0] = 3;
        assert_eq!(Program::parse(&header, &interpreter), Err(NotExecutable));
    }

    proptest! {
        #[test]
        fn no_bytes_make_the_parser_fall(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = Header::parse(&bytes);
            let _ = Program::parse(&Header::parse(&header()).unwrap(), &bytes);
        }
    }
}
