//! Processes and threads: fork and its relatives, execve, exit, wait.

use alloc::vec::Vec;

use abi::addr::Gva;

use super::name::{AT_FDCWD, lookup, user_path};
use super::{Arguments, Errno, Outcome, Stop, System, descriptor};
use crate::arch::cpu::{self, msr};
use crate::arch::vector::VectorState;
use crate::fs::open::Object;
use crate::fs::{FileId, path};
use crate::process::exec::{self, ARGUMENT_BYTES};
use crate::process::signal::{Action, number};
use crate::process::tasks::Tasks;
use crate::process::{Ended, Event, Process, Thread, command_of, name_of};
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

pub fn fork(system: &mut System, _: Arguments) -> Outcome {
    spawn(system, &Wanted { flags: number::CHLD.into(), stack: 0, parent_id: 0, child_id: 0, tls: 0 })
}

pub fn vfork(system: &mut System, _: Arguments) -> Outcome {
    let flags = flag::VM | flag::VFORK | u64::from(number::CHLD);
    spawn(system, &Wanted { flags, stack: 0, parent_id: 0, child_id: 0, tls: 0 })
}

pub fn clone(system: &mut System, [flags, stack, parent_id, child_id, tls, _]: Arguments) -> Outcome {
    spawn(system, &Wanted { flags, stack, parent_id, child_id, tls })
}

/// clone with its arguments in memory: flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls.
pub fn clone3(system: &mut System, [from, size, ..]: Arguments) -> Outcome {
    const SMALLEST: u64 = 64;
    if size < SMALLEST {
        return Err(Errno::INVAL.into());
    }
    let [flags, _, child_id, parent_id, signal, stack, bytes, tls]: [u64; 8] = system.get(from)?;
    if flags & flag::SIGNAL != 0 || signal & !flag::SIGNAL != 0 {
        return Err(Errno::INVAL.into());
    }
    let stack = if stack == 0 { 0 } else { stack.wrapping_add(bytes) };
    spawn(system, &Wanted { flags: flags | signal, stack, parent_id, child_id, tls })
}

fn spawn(system: &mut System, wanted: &Wanted) -> Outcome {
    // The second try of a vfork: the child is there.
    if let Some(pause) = system.tasks.thread.pause {
        return wait_for_borrower(system, pause.done as u32);
    }
    let Wanted { flags, .. } = *wanted;
    if flags & !flag::KNOWN != 0
        || flags & flag::THREAD != 0 && flags & flag::VM == 0
        || flags & flag::SETTLS != 0 && wanted.tls >= USER_END.0
        || flags & flag::SIGNAL > 64
    {
        return Err(Errno::INVAL.into());
    }
    if !system.tasks.others.has_room() || !system.memory.can_spare_frames() {
        return Err(Errno::AGAIN.into());
    }
    system.make_room()?;
    let id = system.tasks.others.fresh_id(&system.tasks.process, system.tasks.thread.id);
    system.tasks.thread.vector.save();
    let mut thread = system.tasks.thread.copy(id, system.tasks.process.slot);
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
        system.put(wanted.parent_id, &id)?;
    }
    if flags & flag::THREAD != 0 {
        return add_thread(system, wanted, thread);
    }
    add_process(system, wanted, thread)
}

fn add_thread(system: &mut System, wanted: &Wanted, thread: Thread) -> Outcome {
    if wanted.flags & flag::CHILD_SETTID != 0 {
        system.put(wanted.child_id, &thread.id)?;
    }
    let id = thread.id;
    system.tasks.process.threads += 1;
    system.tasks.others.add_thread(thread);
    Ok(id.into())
}

fn add_process(system: &mut System, wanted: &Wanted, mut thread: Thread) -> Outcome {
    let Wanted { flags, child_id, .. } = *wanted;
    let mut process = system.tasks.process.child((flags & flag::SIGNAL) as u8);
    process.id = thread.id;
    let shares = flags & flag::VM != 0;
    let space = if shares {
        system.tasks.space.users += 1;
        process.space = system.tasks.process.space;
        process.borrows = flags & flag::VFORK != 0;
        if flags & flag::CHILD_SETTID != 0 {
            system.put(child_id, &thread.id)?;
        }
        None
    } else {
        let scope = system.new_scope(process.limits.resident)?;
        let forked = system.memory.fork(&system.tasks.space);
        let mut space =
            forked.map_err(|_| system.memory.scopes.remove_scope(scope)).map_err(|()| Errno::NOMEM)?;
        space.scope = scope;
        if flags & flag::CHILD_SETTID != 0 {
            // As on Linux, a child that cannot be told is not.
            let _ = system.memory.put_user(&mut space, Gva(child_id), &thread.id);
        }
        Some(space)
    };
    let (id, borrows) = (thread.id, process.borrows);
    thread.process = system.tasks.others.add_process(process, space);
    system.tasks.others.add_thread(thread);
    if borrows {
        system.tasks.thread.pause().done = id.into();
        return Err(Stop::Wait(Event::Vfork, None));
    }
    Ok(id.into())
}

/// A parent that lent its address space goes on when it has it back.
fn wait_for_borrower(system: &mut System, id: u32) -> Outcome {
    if system.tasks.others.processes().any(|child| child.id == id && child.borrows) {
        return Err(Stop::Wait(Event::Vfork, None));
    }
    Ok(id.into())
}

/// exit: the thread's end.
pub fn exit(_: &mut System, [status, ..]: Arguments) -> Outcome {
    Err(Stop::EndThread(status as u8))
}

pub fn exit_group(_: &mut System, [status, ..]: Arguments) -> Outcome {
    Err(Stop::Exit(Ended::Exit(status as u8)))
}

pub fn wait4(system: &mut System, [which, status, options, usage, ..]: Arguments) -> Outcome {
    const NO_HANG: u64 = 1;
    let (own, group, which) = (system.tasks.process.id, system.tasks.process.group, which as i32);
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
    for child in system.tasks.others.processes().filter(|child| asked(child)) {
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
        system.put(status, &ended.status())?;
    }
    let mut sum = own_usage;
    sum.add(&children_usage);
    if usage != 0 {
        let words = super::identity::usage_words(system, &sum, 0);
        system.put(usage, &words)?;
    }
    system.tasks.process.children_usage.add(&sum);
    system.tasks.others.reap(slot);
    Ok(id.into())
}

/// The strings that a vector of pointers names, and the bytes that they take.
fn user_strings(system: &mut System, vector: u64, room: &mut usize) -> Result<Vec<Vec<u8>>, Stop> {
    let mut strings = Vec::new();
    // As on Linux, no vector is an empty one.
    if vector == 0 {
        return Ok(strings);
    }
    let mut at = vector;
    loop {
        let pointer: u64 = system.get(at)?;
        if pointer == 0 {
            return Ok(strings);
        }
        let string =
            system.memory.user_string(&mut system.tasks.space, Gva(pointer), *room)?.ok_or(Errno::TOOBIG)?;
        *room = room.checked_sub(string.len() + 1 + size_of::<u64>()).ok_or(Errno::TOOBIG)?;
        system.make_room()?;
        strings.push(string);
        at = at.wrapping_add(8);
    }
}

pub fn execve(system: &mut System, [name, argv, envp, ..]: Arguments) -> Outcome {
    let mut path = user_path(system, AT_FDCWD, name)?;
    let mut room = ARGUMENT_BYTES;
    let mut argv = user_strings(system, argv, &mut room)?;
    let envp = user_strings(system, envp, &mut room)?;
    let mut file = executable(system, &path)?;
    if let Some(interpreter) = script(system, file)? {
        let rest = argv.split_off(argv.len().min(1));
        argv = interpreter.words;
        argv.push(core::mem::replace(&mut path, interpreter.path));
        argv.extend(rest);
        file = executable(system, &path)?;
    }
    let (argv, envp) = (refs(&argv), refs(&envp));
    let mut random = [0; 16];
    system.machine.random.fill(&mut random);
    let hwcap = system.machine.hwcap;
    let arguments = exec::Arguments { path: &path, argv: &argv, envp: &envp, random: &random, hwcap };
    let command = command_of(&argv);
    let mut loaded = exec::load(&mut system.memory, &system.tree, file, system.root, &arguments)?;
    let limits = system.tasks.process.limits;
    loaded.space.limit = limits.address_space;
    match system.new_scope(limits.resident) {
        Ok(scope) => loaded.space.scope = scope,
        Err(errno) => {
            system.memory.destroy(loaded.space);
            return Err(errno.into());
        }
    }

    let System { memory, tasks, .. } = system;
    tasks.others.end_threads(tasks.process.slot);
    tasks.change_space(memory, loaded.space);
    let Tasks { process, thread, .. } = &mut *tasks;
    process.threads = 1;
    process.program = file;
    process.name = name_of(&path);
    process.command = command;
    let closed = process.descriptors.close_for_exec();
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
    for file in closed {
        descriptor::gone(system, file);
    }
    system.collect_memory_files();
    Err(Stop::Resume)
}

fn refs(strings: &[Vec<u8>]) -> Vec<&[u8]> {
    strings.iter().map(Vec::as_slice).collect()
}

fn executable(system: &mut System, path: &[u8]) -> Result<FileId, Stop> {
    match lookup(system, path)? {
        Object::File(file) if system.memory.attributes(file).mode & 0o111 != 0 => Ok(file),
        _ => Err(Errno::ACCES.into()),
    }
}

/// A script's first line.
struct Interpreter {
    path: Vec<u8>,
    /// Its path and, if it has one, its argument.
    words: Vec<Vec<u8>>,
}

fn script(system: &mut System, file: FileId) -> Result<Option<Interpreter>, Stop> {
    let mut start = [0; 128];
    let read = system.memory.read_file(file, 0, &mut start)?;
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
    Ok(Some(Interpreter { path: path::resolve(&system.tasks.process.directory, name), words }))
}

pub fn getpid(system: &mut System, _: Arguments) -> Outcome {
    Ok(system.tasks.process.id.into())
}

pub fn gettid(system: &mut System, _: Arguments) -> Outcome {
    Ok(system.tasks.thread.id.into())
}

pub fn getppid(system: &mut System, _: Arguments) -> Outcome {
    Ok(system.tasks.process.parent.into())
}

pub fn set_tid_address(system: &mut System, [word, ..]: Arguments) -> Outcome {
    system.tasks.thread.clear_at_end = word;
    Ok(system.tasks.thread.id.into())
}

/// Calls `each` with the process of a number, 0 for the caller's.
fn with_process<R>(system: &mut System, id: u64, each: impl FnOnce(&mut Process) -> R) -> Result<R, Errno> {
    let id = id as u32;
    if id == 0 || id == system.tasks.process.id {
        return Ok(each(&mut system.tasks.process));
    }
    system.tasks.others.processes().find(|process| process.id == id).map(each).ok_or(Errno::SRCH)
}

pub fn setpgid(system: &mut System, [id, group, ..]: Arguments) -> Outcome {
    with_process(system, id, |process| {
        process.group = if group == 0 { process.id } else { group as u32 };
    })?;
    Ok(0)
}

pub fn getpgid(system: &mut System, [id, ..]: Arguments) -> Outcome {
    Ok(with_process(system, id, |process| process.group.into())?)
}

pub fn getpgrp(system: &mut System, _: Arguments) -> Outcome {
    Ok(system.tasks.process.group.into())
}

pub fn setsid(system: &mut System, _: Arguments) -> Outcome {
    if system.tasks.process.group == system.tasks.process.id {
        return Err(Errno::PERM.into());
    }
    (system.tasks.process.group, system.tasks.process.session) =
        (system.tasks.process.id, system.tasks.process.id);
    Ok(system.tasks.process.id.into())
}

pub fn getsid(system: &mut System, [id, ..]: Arguments) -> Outcome {
    Ok(with_process(system, id, |process| process.session.into())?)
}
