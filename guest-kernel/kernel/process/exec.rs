//! Starting a program: its file becomes areas, its arguments a stack. No page of it is read before it is touched.

use alloc::vec;
use alloc::vec::Vec;

use abi::addr::{Gpa, Gva, PAGE_SIZE};

use super::auxv::{self, kind};
use super::elf::{HEADER, Header, NotExecutable, PROGRAM_HEADER, Program, Segment};
use crate::arch::vector;
use crate::fs::FileId;
use crate::fs::open::Object;
use crate::fs::path::resolve;
use crate::fs::tree::Tree;
use crate::syscall::Errno;
use crate::vm::area::{Area, Backing, PageSize, Sharing, TooMany};
use crate::vm::fault::Invalid;
use crate::vm::page::Rights;
use crate::vm::space::{AddressSpace, INTERPRETER_BASE, PIE_BASE, STACK_TOP};
use crate::vm::{Memory, OutOfMemory};

/// Most bytes of arguments and environment together, with a pointer to each string.
pub const ARGUMENT_BYTES: usize = 128 << 10;

/// A loaded program.
pub struct Loaded {
    /// Its memory.
    pub space: AddressSpace,
    /// Its first instruction.
    pub entry: Gva,
    /// Its first stack pointer.
    pub stack: Gva,
}

/// What a program is started with.
pub struct Arguments<'a> {
    /// Its path.
    pub path: &'a [u8],
    /// Its arguments.
    pub argv: &'a [&'a [u8]],
    /// Its environment.
    pub envp: &'a [&'a [u8]],
    /// For AT_RANDOM.
    pub random: &'a [u8; 16],
    /// For AT_HWCAP: CPUID leaf 1, EDX.
    pub hwcap: u64,
}

impl From<NotExecutable> for Errno {
    fn from(_: NotExecutable) -> Self {
        Self::NOEXEC
    }
}

impl From<TooMany> for Errno {
    fn from(_: TooMany) -> Self {
        Self::NOMEM
    }
}

impl From<OutOfMemory> for Errno {
    fn from(_: OutOfMemory) -> Self {
        Self::NOMEM
    }
}

/// Loads a program into a new address space, and the interpreter that it wants (the dynamic loader), which then starts it.
///
/// # Errors
/// ENOEXEC: not a program for this machine. ENOENT: there is no such interpreter. ENOMEM, EIO, E2BIG (the arguments leave no stack).
pub fn load(
    memory: &mut Memory,
    tree: &Tree,
    file: FileId,
    kernel: Gpa,
    arguments: &Arguments<'_>,
) -> Result<Loaded, Errno> {
    let (header, program) = read_headers(memory, file)?;
    let mut space = AddressSpace::new(memory, kernel)?;
    match load_into(memory, tree, &mut space, (file, &header, &program), arguments) {
        Ok((entry, stack)) => Ok(Loaded { space, entry, stack }),
        Err(errno) => {
            memory.destroy(space);
            Err(errno)
        }
    }
}

/// Returns the first instruction and the first stack pointer.
fn load_into(
    memory: &mut Memory,
    tree: &Tree,
    space: &mut AddressSpace,
    (file, header, program): (FileId, &Header, &Program),
    arguments: &Arguments<'_>,
) -> Result<(Gva, Gva), Errno> {
    let bias = if header.relocatable { PIE_BASE.0 } else { 0 };
    let end = map_segments(memory, space, file, program, bias)?;
    space.heap = end..end;

    let entry = Gva(header.entry.wrapping_add(bias));
    let headers = program.headers_address.wrapping_add(bias);
    let (start, base) = match interpreter(memory, tree, file, program)? {
        None => (entry, 0),
        Some(interpreter) => {
            let (header, program) = read_headers(memory, interpreter)?;
            let base = if header.relocatable { INTERPRETER_BASE.0 } else { 0 };
            map_segments(memory, space, interpreter, &program, base)?;
            (Gva(header.entry.wrapping_add(base)), base)
        }
    };
    let auxiliary = [
        (kind::PHDR, headers),
        (kind::PHENT, PROGRAM_HEADER as u64),
        (kind::PHNUM, header.headers as u64),
        (kind::BASE, base),
        (kind::FLAGS, 0),
        (kind::ENTRY, entry.0),
        (kind::UID, 0),
        (kind::EUID, 0),
        (kind::GID, 0),
        (kind::EGID, 0),
        (kind::SECURE, 0),
        (kind::HWCAP, arguments.hwcap),
        (kind::HWCAP2, 0),
    ];
    let Arguments { path, argv, envp, random, .. } = arguments;
    let envp = with_vector_environment(envp);
    let stack = auxv::build(STACK_TOP, argv, &envp, path, random, &auxiliary);
    memory.write_user(space, stack.start, &stack.image).map_err(|_| Errno::TOOBIG)?;
    Ok((start, stack.start))
}

/// The file of the interpreter that a program wants.
fn interpreter(
    memory: &mut Memory,
    tree: &Tree,
    file: FileId,
    program: &Program,
) -> Result<Option<FileId>, Errno> {
    let Some((offset, len)) = program.interpreter else { return Ok(None) };
    let mut bytes = vec![0; len];
    memory.read_file(file, offset, &mut bytes)?;
    let end = bytes.iter().position(|&byte| byte == 0).ok_or(Errno::NOEXEC)?;
    match tree.get(&resolve(b"/", &bytes[..end])) {
        Some(&Object::File(file)) => Ok(Some(file)),
        _ => Err(Errno::NOENT),
    }
}

/// The environment, with what [`vector::environment`] adds.
fn with_vector_environment<'a>(envp: &[&'a [u8]]) -> Vec<&'a [u8]> {
    let name = |string: &[u8]| string.iter().position(|&byte| byte == b'=').unwrap_or(string.len());
    let mut all = envp.to_vec();
    for &needed in vector::environment() {
        let key = &needed[..=name(needed)];
        if !envp.iter().any(|string| string.starts_with(key)) {
            all.push(needed);
        }
    }
    all
}

fn read_headers(memory: &mut Memory, file: FileId) -> Result<(Header, Program), Errno> {
    let mut read = |offset: u64, bytes: &mut Vec<u8>| match memory.read_file(file, offset, bytes) {
        Ok(len) if len == bytes.len() => Ok(()),
        Ok(_) => Err(Errno::NOEXEC),
        Err(Invalid::OutOfMemory) => Err(Errno::NOMEM),
        Err(_) => Err(Errno::IO),
    };
    let mut bytes = vec![0; HEADER];
    read(0, &mut bytes)?;
    let header = Header::parse(&bytes)?;
    let mut bytes = vec![0; header.headers * PROGRAM_HEADER];
    read(header.headers_at, &mut bytes)?;
    let program = Program::parse(&header, &bytes)?;
    Ok((header, program))
}

/// Maps a program's segments. Returns the end of the last one's last page.
fn map_segments(
    memory: &mut Memory,
    space: &mut AddressSpace,
    file: FileId,
    program: &Program,
    bias: u64,
) -> Result<Gva, Errno> {
    let mut end = Gva(0);
    for segment in &program.segments {
        end = end.max(map_segment(memory, space, file, segment, bias)?);
    }
    Ok(end)
}

/// Maps a segment: the pages that the file fills, then zeros. Returns the end of its last page.
fn map_segment(
    memory: &mut Memory,
    space: &mut AddressSpace,
    file: FileId,
    segment: &Segment,
    bias: u64,
) -> Result<Gva, Errno> {
    let page = PAGE_SIZE as u64;
    let address = segment.address + bias;
    let start = Gva(address).page_start();
    let file_end = address + segment.file_bytes;
    let mapped_end = Gva(if segment.file_bytes == 0 { start.0 } else { file_end.next_multiple_of(page) });
    let end = Gva((address + segment.memory_bytes).next_multiple_of(page));
    if AddressSpace::range(start, end - start).is_none() {
        return Err(Errno::NOEXEC);
    }
    let of_file = Area {
        size: PageSize::Small,
        backing: Backing::File { file, page: (segment.offset / page) as u32, sharing: Sharing::Private },
        ..Area::anonymous(start..mapped_end, segment.rights)
    };
    if start < mapped_end {
        memory.map(space, of_file)?;
    }
    if mapped_end < end {
        memory.map(space, Area::anonymous(mapped_end..end, segment.rights))?;
    }
    // The last page from the file goes on with zeros, not with what follows in the file.
    if segment.memory_bytes > segment.file_bytes
        && Gva(file_end) < mapped_end
        && segment.rights.allow(Rights::WRITE)
    {
        memory
            .zero_user(space, Gva(file_end), (mapped_end.0 - file_end) as usize)
            .map_err(|_| Errno::NOEXEC)?;
    }
    Ok(end)
}
