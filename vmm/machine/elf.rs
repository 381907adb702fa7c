//! What an ELF file is, checked before anything is started with it.

use abi::addr::Gpa;
use abi::files::MAX_PATH;
use abi::layout::KERNEL;
use object::LittleEndian as Le;
use object::elf::{
    ELFCLASS64, ELFDATA2LSB, EM_X86_64, ET_DYN, ET_EXEC, FileHeader64, PT_INTERP, PT_LOAD, ProgramHeader64,
};
use object::read::ReadRef;
use object::read::elf::{FileHeader, ProgramHeader};
use thiserror::Error;

/// Why a file cannot be run.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ElfError {
    /// No ELF magic, or shorter than an ELF header.
    #[error("is not an ELF file: give a program that was compiled for Linux on x86-64")]
    NotElf,
    /// 32-bit, big-endian or another machine.
    #[error("is an ELF file for another machine: build it for 64-bit x86-64")]
    OtherMachine,
    /// A relocatable object, a core dump.
    #[error("is an ELF file but not an executable: link it first")]
    NotExecutable,
    /// What it says of its interpreter is no path.
    #[error("wants an interpreter whose path is none: it is not a complete program")]
    Interpreter,
    /// A header or a segment lies past the end of the file.
    #[error("is truncated: a part that its headers name lies past its end; copy or build it again")]
    Truncated,
    /// Nothing to load.
    #[error("has no segment to load: it is not a complete program")]
    Empty,
    /// A kernel's segment is not in guest RAM, or where the boot information goes.
    #[error(
        "wants {start} to {end}, which is not free guest RAM: link it at {KERNEL} or above, or give more --ram"
    )]
    Place {
        /// First byte of the segment.
        start: Gpa,
        /// First byte after it.
        end: Gpa,
    },
}

/// Checks that `image` is a whole Linux program for x86-64, and returns the path of the interpreter that a dynamic one wants.
/// Reads no more than its headers.
///
/// # Errors
/// What is wrong with it.
pub fn check_program<'a>(image: impl ReadRef<'a>) -> Result<Option<String>, ElfError> {
    let headers = program_headers(image)?;
    let Some(header) = headers.iter().find(|header| header.p_type(Le) == PT_INTERP) else { return Ok(None) };
    let path = image.read_bytes_at(header.p_offset(Le), header.p_filesz(Le).min(MAX_PATH as u64 + 1));
    let path = path.ok().and_then(|path| path.strip_suffix(b"\0")).ok_or(ElfError::Interpreter)?;
    match std::str::from_utf8(path) {
        Ok(path) if path.starts_with('/') => Ok(Some(path.to_owned())),
        _ => Err(ElfError::Interpreter),
    }
}

/// Checks that `image` is a whole 64-bit kernel whose segments lie in the low range of RAM, `ram_bytes`
/// long.
///
/// # Errors
/// What is wrong with it.
pub fn check_kernel(image: &[u8], ram_bytes: u64) -> Result<(), ElfError> {
    for header in program_headers(image)?.iter().filter(|header| header.p_type(Le) == PT_LOAD) {
        let start = Gpa(header.p_paddr(Le));
        let end = start.checked_add(header.p_memsz(Le)).unwrap_or(Gpa(u64::MAX));
        if start < KERNEL || end.0 > ram_bytes {
            return Err(ElfError::Place { start, end });
        }
    }
    Ok(())
}

fn program_headers<'a>(image: impl ReadRef<'a>) -> Result<&'a [ProgramHeader64<Le>], ElfError> {
    let ident = image.read_bytes_at(0, 6).map_err(|()| ElfError::NotElf)?;
    if !ident.starts_with(&object::elf::ELFMAG) {
        return Err(ElfError::NotElf);
    }
    if ident[4..] != [ELFCLASS64.0, ELFDATA2LSB.0] {
        return Err(ElfError::OtherMachine);
    }
    let header = FileHeader64::<Le>::parse(image).map_err(|_| ElfError::Truncated)?;
    if header.e_machine(Le) != EM_X86_64 {
        return Err(ElfError::OtherMachine);
    }
    if ![ET_EXEC, ET_DYN].contains(&header.e_type(Le)) {
        return Err(ElfError::NotExecutable);
    }
    let headers = header.program_headers(Le, image).map_err(|_| ElfError::Truncated)?;
    let mut loadable = headers.iter().filter(|header| header.p_type(Le) == PT_LOAD).peekable();
    if loadable.peek().is_none() {
        return Err(ElfError::Empty);
    }
    let len = image.len().map_err(|()| ElfError::Truncated)?;
    let end = |header: &ProgramHeader64<Le>| header.p_offset(Le).saturating_add(header.p_filesz(Le));
    if loadable.any(|header| end(header) > len) {
        return Err(ElfError::Truncated);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// This test itself is an ELF file for x86-64, and a dynamic one.
    fn this_test() -> Vec<u8> {
        std::fs::read("/proc/self/exe").expect("the running test")
    }

    #[test]
    fn a_dynamic_program_is_told_from_a_static_one() {
        let loader = "/lib64/ld-linux-x86-64.so.2".to_owned();
        assert_eq!(check_program(&*this_test()), Ok(Some(loader)));
        assert_eq!(check_program(crate::guest::SORT), Ok(None));
    }

    #[test]
    fn what_is_no_program_is_named() {
        let good = crate::guest::SORT;
        assert_eq!(check_program(&b"#!/bin/sh\n"[..]), Err(ElfError::NotElf));
        assert_eq!(check_program(&b""[..]), Err(ElfError::NotElf));
        assert_eq!(check_program(&good[..40]), Err(ElfError::Truncated));
        assert_eq!(check_program(&good[..good.len() / 2]), Err(ElfError::Truncated));
        let changed = |offset: usize, value: u8| {
            let mut image = good.to_vec();
            image[offset] = value;
            check_program(&*image)
        };
        assert_eq!(changed(4, 1), Err(ElfError::OtherMachine), "32 bits");
        assert_eq!(changed(18, 183), Err(ElfError::OtherMachine), "AArch64");
        assert_eq!(changed(16, 1), Err(ElfError::NotExecutable), "relocatable");
    }

    #[test]
    fn a_kernel_must_lie_in_guest_ram() {
        assert_eq!(check_kernel(crate::guest::KERNEL, 16 << 20), Ok(()));
        assert!(matches!(check_kernel(crate::guest::KERNEL, 1 << 20), Err(ElfError::Place { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_corruption_makes_the_check_panic(flips in proptest::collection::vec((0usize..4096, 0u8..), 1..40)) {
            let mut image = crate::guest::SORT[..8192].to_vec();
            for (offset, value) in flips {
                image[offset] = value;
            }
            let _ = check_program(&*image);
            let _ = check_kernel(&image, 64 << 20);
        }
    }
}
