//! Processes and threads: fork and its relatives, execve, exit, wait.

use alloc::vec::Vec;

use abi::addr::Gva;

use super::file::{AT_FDCWD, lookup, user_path};
use super::{Arguments, Call, Errno, Outcome, Stop};
use crate::arch::cpu::{self, msr};
use crate::arch::vector::VectorState;
use crate::fs::open::Object;
use crate::fs::{FileId, path};
use crate::process::exec::{self, ARGUMENT_BYTES};
use crate::process::signal::{Action, number};
use crate::process::tasks::{change_space, collect_memory_files};
use crate::process::{Ended, Event, Process, Thread, name_of};
use crate::vm::table::USER_END;

/// What clone's flags ask for (clone(2)).
mod flag {
    pub const SIGNAL: u64 = 0xff;
    pub const VM: u64 = 0x100;
    pub const SIGHAND: u64 = 0x800;
    pub const VFORK: u64 = 0x4000;
    pub const THREAD: u64 = 0x1_0000;
    pub const SETTLS: u64 = 0x8_0000;
    pub const PARENT_SETTID: u64 = 0x10_0000;
    pub const CHILD_CLEARTID: u64 = 0x20_0000;
    pub const CHILD_SETTID: u64 = 0x100_0000;
    /// FS, FILES, SIGHAND, PARENT, SYSVSEM, DETACHED: nothing that this kernel would tell apart.
    pub const KNOWN: u64 = SIGNAL
        | 0x600
        | VM
        | SIGHAND
        | VFORK
        | 0x8000
        | THREAD
        | 0x4_0000
        | SETTLS
        | PARENT_SETTID
        | CHILD_CLEARTID
        | 0x40_0000
        | CHILD_SETTID;
}

/// What is to be made.
struct Wanted {
    flags: u64,
    /// The stack pointer to start with, 0 for the parent's.
    stack: u64,
    parent_id: u64,
    child_id: u64,
    tls: u64,
}

pub fn fork(call: &mut Call<'_>, _: Arguments) -> Outcome {
    spawn(call, &Wanted { flags: number::CHLD.into(), stack: 0, parent_id: 0, child_id: 0, tls: 0 })
}

pub fn vfork(call: &mut Call<'_>, _: Arguments) -> Outcome {
    let flags = flag::VM | flag::VFORK | u64::from(number::CHLD);
    spawn(call, &Wanted { flags, stack: 0, parent_id: 0, child_id: 0, tls: 0 })
}

pub fn clone(call: &mut Call<'_>, [flags, stack, parent_id, child_id, tls, _]: Arguments) -> Outcome {
    spawn(call, &Wanted { flags, stack, parent_id, child_id, tls })
}

/// clone with its arguments in memory: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
pub fn clone3(call: &mut Call<'_>, [from, size, ..]: Arguments) -> Outcome {
    const SMALLEST: u64 = 64;
    if size < SMALLEST {
        return Err(Errno::INVAL.into());
    }
    let [flags, _, child_id, parent_id, signal, stack, bytes, tls]: [u64; 8] = call.get(from)?;
    if flags & flag::SIGNAL != 0 || signal & !flag::SIGNAL != 0 {
        return Err(Errno::INVAL.into());
    }
    let stack = if stack == 0 { 0 } else { stack.wrapping_add(bytes) };
    spawn(call, &Wanted { flags: flags | signal, stack, parent_id, child_id, tls })
}

fn spawn(call: &mut Call<'_>, wanted: &Wanted) -> Outcome {
    // The second try of a vfork: the child is there.
    if let Some(pause) = call.thread.pause {
        return wait_for_borrower(call, pause.done as u32);
    }
    let Wanted { flags, .. } = *wanted;
    if flags & !flag::KNOWN != 0
        || flags & flag::THREAD != 0 && flags & flag::VM == 0
        || flags & flag::SETTLS != 0 && wanted.tls >= USER_END.0
        || flags & flag::SIGNAL > 64
    {
        return Err(Errno::INVAL.into());
    }
    if !call.others.has_room() || !call.memory.can_spare_frames() {
        return Err(Errno::AGAIN.into());
    }
    call.make_room()?;
    let id = call.others.fresh_id(call.process, call.thread.id);
    call.thread.vector.save();
    let mut thread = call.thread.copy(id, call.process.slot);
    if wanted.stack != 0 {
        thread.registers.rsp = wanted.stack;
    }
    if flags & flag::SETTLS != 0 {
        thread.fs_base = wanted.tls;
    }
    if flags & flag::CHILD_CLEARTID != 0 {
        thread.clear_at_end = wanted.child_id;
    }
    if flags & flag::PARENT_SETTID != 0 {
        call.put(wanted.parent_id, &id)?;
    }
    if flags & flag::THREAD != 0 {
        return add_thread(call, wanted, thread);
    }
    add_process(call, wanted, thread)
}

fn add_thread(call: &mut Call<'_>, wanted: &Wanted, thread: Thread) -> Outcome {
    if wanted.flags & flag::CHILD_SETTID != 0 {
        call.put(wanted.child_id, &thread.id)?;
    }
    let id = thread.id;
    call.process.threads += 1;
    call.others.add_thread(thread);
    Ok(id.into())
}

fn add_process(call: &mut Call<'_>, wanted: &Wanted, mut thread: Thread) -> Outcome {
    let Wanted { flags, child_id, .. } = *wanted;
    let mut process = call.process.child((flags & flag::SIGNAL) as u8);
    process.id = thread.id;
    let shares = flags & flag::VM != 0;
    let space = if shares {
        call.space.users += 1;
        process.space = call.process.space;
        process.borrows = flags & flag::VFORK != 0;
        if flags & flag::CHILD_SETTID != 0 {
            call.put(child_id, &thread.id)?;
        }
        None
    } else {
        let mut space = call.memory.fork(call.space).map_err(|_| Errno::NOMEM)?;
        if flags & flag::CHILD_SETTID != 0 {
            // As on Linux, a child that cannot be told is not.
            let _ = call.memory.put_user(&mut space, Gva(child_id), &thread.id);
        }
        Some(space)
    };
    let (id, borrows) = (thread.id, process.borrows);
    thread.process = call.others.add_process(process, space);
    call.others.add_thread(thread);
    if borrows {
        call.thread.pause().done = id.into();
        return Err(Stop::Wait(Event::Vfork, None));
    }
    Ok(id.into())
}

/// A parent that lent its address space goes on when it has it back.
fn wait_for_borrower(call: &mut Call<'_>, id: u32) -> Outcome {
    if call.others.processes().any(|child| child.id == id && child.borrows) {
        return Err(Stop::Wait(Event::Vfork, None));
    }
    Ok(id.into())
}

/// exit: the thread's end.
pub fn exit(_: &mut Call<'_>, [status, ..]: Arguments) -> Outcome {
    Err(Stop::EndThread(status as u8))
}

pub fn exit_group(_: &mut Call<'_>, [status, ..]: Arguments) -> Outcome {
    Err(Stop::Exit(Ended::Exit(status as u8)))
}

pub fn wait4(call: &mut Call<'_>, [which, status, options, usage, ..]: Arguments) -> Outcome {
    const NO_HANG: u64 = 1;
    let (own, group, which) = (call.process.id, call.process.group, which as i32);
    let asked = |child: &Process| {
        child.parent == own
            && match which {
                -1 => true,
                0 => child.group == group,
                1.. => child.id == which as u32,
                _ => child.group == which.unsigned_abs(),
            }
    };
    let mut any = false;
    let mut found = None;
    for child in call.others.processes().filter(|child| asked(child)) {
        any = true;
        if let Some(ended) = child.ended {
            found = Some((child.slot, child.id, ended, child.usage, child.children_usage));
            break;
        }
    }
    let Some((slot, id, ended, own_usage, children_usage)) = found else {
        return match any {
            false => Err(Errno::CHILD.into()),
            true if options & NO_HANG != 0 => Ok(0),
            true => Err(Stop::Wait(Event::Child, None)),
        };
    };
    if status != 0 {
        call.put(status, &ended.status())?;
    }
    let mut sum = own_usage;
    sum.add(&children_usage);
    if usage != 0 {
        let words = super::identity::usage_words(call, &sum, 0);
        call.put(usage, &words)?;
    }
    call.process.children_usage.add(&sum);
    call.others.reap(slot);
    Ok(id.into())
}

/// The strings that a vector of pointers names, and the bytes that they take.
fn user_strings(call: &mut Call<'_>, vector: u64, room: &mut usize) -> Result<Vec<Vec<u8>>, Stop> {
    let mut strings = Vec::new();
    // As on Linux, no vector is an empty one.
    if vector == 0 {
        return Ok(strings);
    }
    let mut at = vector;
    loop {
        let pointer: u64 = call.get(at)?;
        if pointer == 0 {
            return Ok(strings);
        }
        let string = call.memory.user_string(call.space, Gva(pointer), *room)?.ok_or(Errno::TOOBIG)?;
        *room = room.checked_sub(string.len() + 1 + size_of::<u64>()).ok_or(Errno::TOOBIG)?;
        call.make_room()?;
        strings.push(string);
        at = at.wrapping_add(8);
    }
}

pub fn execve(call: &mut Call<'_>, [name, argv, envp, ..]: Arguments) -> Outcome {
    let mut path = user_path(call, AT_FDCWD, name)?;
    let mut room = ARGUMENT_BYTES;
    let mut argv = user_strings(call, argv, &mut room)?;
    let envp = user_strings(call, envp, &mut room)?;
    let mut file = executable(call, &path)?;
    if let Some(interpreter) = script(call, file)? {
        let rest = argv.split_off(argv.len().min(1));
        argv = interpreter.words;
        argv.push(core::mem::replace(&mut path, interpreter.path));
        argv.extend(rest);
        file = executable(call, &path)?;
    }
    let (argv, envp) = (refs(&argv), refs(&envp));
    let mut random = [0; 16];
    call.machine.random.fill(&mut random);
    let hwcap = call.machine.hwcap;
    let arguments = exec::Arguments { path: &path, argv: &argv, envp: &envp, random: &random, hwcap };
    let loaded = exec::load(call.memory, file, call.root, &arguments)?;

    let Call { memory, process, thread, space, others, .. } = call;
    others.end_threads(process.slot);
    change_space(memory, process, space, others, loaded.space);
    process.threads = 1;
    process.program = file;
    process.name = name_of(&path);
    process.descriptors.close_for_exec();
    others.wake_pipes();
    collect_memory_files(memory, process, space, others);
    for action in process.actions.iter_mut().filter(|action| action.handler != Action::IGNORE) {
        *action = Action::default();
    }
    let fresh = Thread::new(thread.id, thread.process, loaded.entry, loaded.stack);
    thread.registers = fresh.registers;
    thread.vector = VectorState::new();
    thread.vector.restore();
    (thread.fs_base, thread.gs_base) = (0, 0);
    (thread.signal_stack, thread.clear_at_end) = (fresh.signal_stack, 0);
    // SAFETY: 0 is canonical, and the kernel uses neither segment.
    unsafe {
        cpu::wrmsr(msr::FS_BASE, 0);
        cpu::wrmsr(msr::GS_BASE, 0);
    }
    Err(Stop::Resume)
}

fn refs(strings: &[Vec<u8>]) -> Vec<&[u8]> {
    strings.iter().map(Vec::as_slice).collect()
}

fn executable(call: &mut Call<'_>, path: &[u8]) -> Result<FileId, Stop> {
    match lookup(call, path)? {
        Object::File(file) => Ok(file),
        _ => Err(Errno::ACCES.into()),
    }
}

/// A script's first line.
struct Interpreter {
    path: Vec<u8>,
    /// Its path and, if it has one, its argument.
    words: Vec<Vec<u8>>,
}

fn script(call: &mut Call<'_>, file: FileId) -> Result<Option<Interpreter>, Stop> {
    let mut start = [0; 128];
    let read = call.memory.read_file(file, 0, &mut start)?;
    let Some(line) = start[..read].strip_prefix(b"#!") else { return Ok(None) };
    let line = line.split(|&byte| byte == b'\n').next().unwrap_or_default().trim_ascii();
    let end = line.iter().position(u8::is_ascii_whitespace).unwrap_or(line.len());
    if end == 0 {
        return Err(Errno::NOEXEC.into());
    }
    let (name, argument) = (&line[..end], line[end..].trim_ascii());
    let mut words = alloc::vec![name.to_vec()];
    if !argument.is_empty() {
        words.push(argument.to_vec());
    }
    Ok(Some(Interpreter { path: path::resolve(&call.process.directory, name), words }))
}

pub fn getpid(call: &mut Call<'_>, _: Arguments) -> Outcome {
    Ok(call.process.id.into())
}

pub fn gettid(call: &mut Call<'_>, _: Arguments) -> Outcome {
    Ok(call.thread.id.into())
}

pub fn getppid(call: &mut Call<'_>, _: Arguments) -> Outcome {
    Ok(call.process.parent.into())
}

pub fn set_tid_address(call: &mut Call<'_>, [word, ..]: Arguments) -> Outcome {
    call.thread.clear_at_end = word;
    Ok(call.thread.id.into())
}

/// Calls `each` with the process of a number, 0 for the caller's.
fn with_process<R>(call: &mut Call<'_>, id: u64, each: impl FnOnce(&mut Process) -> R) -> Result<R, Errno> {
    let id = id as u32;
    if id == 0 || id == call.process.id {
        return Ok(each(call.process));
    }
    call.others.processes().find(|process| process.id == id).map(each).ok_or(Errno::SRCH)
}

pub fn setpgid(call: &mut Call<'_>, [id, group, ..]: Arguments) -> Outcome {
    with_process(call, id, |process| {
        process.group = if group == 0 { process.id } else { group as u32 };
    })?;
    Ok(0)
}

pub fn getpgid(call: &mut Call<'_>, [id, ..]: Arguments) -> Outcome {
    Ok(with_process(call, id, |process| process.group.into())?)
}

pub fn getpgrp(call: &mut Call<'_>, _: Arguments) -> Outcome {
    Ok(call.process.group.into())
}

pub fn setsid(call: &mut Call<'_>, _: Arguments) -> Outcome {
    if call.process.group == call.process.id {
        return Err(Errno::PERM.into());
    }
    (call.process.group, call.process.session) = (call.process.id, call.process.id);
    Ok(call.process.id.into())
}

pub fn getsid(call: &mut Call<'_>, [id, ..]: Arguments) -> Outcome {
    Ok(with_process(call, id, |process| process.session.into())?)
}
