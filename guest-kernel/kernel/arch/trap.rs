//! Traps: exceptions, interrupts and system calls, from their gates to one Rust function and back.
//!
//! A trap from user mode saves the user's registers straight into the running thread's [`Registers`]: the CPU's
//! trap stack points to the end of that structure. The handler then runs on the kernel's only stack. So a switch of
//! threads is no more than another [`set_current`] before the handler returns.
//!
//! The kernel itself runs with interrupts off, except while it waits for one; an interrupt taken there is
//! acknowledged and nothing else. An exception in the kernel is a bug and ends in a panic.

use core::arch::global_asm;
use core::cell::UnsafeCell;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};

use super::{cpu, gdt};

/// A thread's registers while it is not running in user mode.
#[derive(Clone, Copy, Default, Debug)]
#[repr(C, align(16))]
#[allow(missing_docs)]
pub struct Registers {
    /// Where an interrupt lands that comes while the stack pointer is still in this structure. None should, but some
    /// hypervisors deliver an interrupt twice: see [`interrupt_in_kernel`].
    pub landing: [u64; 10],
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// What trapped: the exception's or interrupt's number, or [`SYSTEM_CALL`]. While it is SYSTEM_CALL the thread is
    /// resumed by `sysretq`, which wants RCX = RIP and R11 = RFLAGS; whoever changes RIP sets this to 0.
    pub vector: u64,
    pub error: u64,
    pub rip: u64,
    pub cs: u64,
    pub rflags: u64,
    pub rsp: u64,
    pub ss: u64,
}

impl Registers {
    /// A system call's six arguments.
    #[must_use]
    #[inline]
    pub fn arguments(&self) -> [u64; 6] {
        [self.rdi, self.rsi, self.rdx, self.r10, self.r8, self.r9]
    }
}

/// [`Registers::vector`] of a `syscall` that arrived in ring 0.
pub const SYSTEM_CALL: u64 = 0x100;
/// Vector of the page fault.
pub const PAGE_FAULT: u64 = 14;
/// Vector of the local APIC's timer.
pub const TIMER: u64 = 32;
/// Vector of the first device.
pub const FIRST_DEVICE: u64 = 33;
/// The local APIC's spurious vector; not acknowledged.
pub const SPURIOUS: u64 = 47;
const VECTORS: usize = 48;
/// Flags that `syscall` clears: trap, interrupt, direction, IO privilege, nested task, alignment check.
const SYSCALL_CLEARS: u64 = 0x4_7700;
/// Flags that a program may set as it likes: the arithmetic ones, trap, direction, alignment check, CPUID. The others
/// would give it the ports, or the CPU.
pub const USER_FLAGS: u64 = 0x24_0dd5;
/// The interrupt flag; every thread runs with it.
pub const INTERRUPTS_ON: u64 = 0x200;
/// Size of [`KERNEL_STACK`].
pub const STACK: usize = 32 << 10;

/// What the entry code reaches; the fields are known to it by their order.
#[repr(C, align(16))]
struct Entry {
    user_rsp: u64,
    /// End of the running thread's registers.
    frame_end: u64,
    handler: u64,
    system_call: u64,
    kernel_trap: u64,
    interrupt: u64,
}

/// What only the entry code touches.
pub struct Cell<T>(UnsafeCell<T>);
// SAFETY: one CPU; written at boot and by the kernel with interrupts off, read by the entry code only.
unsafe impl<T> Sync for Cell<T> {}

static ENTRY: Cell<Entry> = Cell(UnsafeCell::new(Entry {
    user_rsp: 0,
    frame_end: 0,
    handler: 0,
    system_call: 0,
    kernel_trap: 0,
    interrupt: 0,
}));

/// Memory for a stack.
#[repr(C, align(4096))]
pub struct Stack([u8; STACK]);
/// The kernel's only stack: each trap from user mode starts at its top, and so does the boot.
pub static KERNEL_STACK: Cell<Stack> = Cell(UnsafeCell::new(Stack([0; STACK])));

/// Interrupts taken since boot while the kernel waited; see [`kernel_interrupts`].
static WHILE_WAITING: AtomicU64 = AtomicU64::new(0);

/// A gate of the interrupt descriptor table (Intel SDM volume 3, 7.14.1).
#[derive(Clone, Copy)]
#[repr(C)]
struct Gate([u64; 2]);

static GATES: Cell<[Gate; VECTORS]> = Cell(UnsafeCell::new([Gate([0; 2]); VECTORS]));

unsafe extern "C" {
    fn trap_stubs();
    fn system_call_entry();
    fn resume_user() -> !;
}

/// What the CPU pushed for a trap in the kernel.
#[repr(C)]
struct KernelTrap {
    vector: u64,
    error: u64,
    rip: u64,
    cs: u64,
    rflags: u64,
    rsp: u64,
    ss: u64,
}

/// Where `syscall` goes: the address that some hosts report as a page fault instead (see the kernel's trap handler).
#[must_use]
pub fn system_call_address() -> u64 {
    system_call_entry as *const () as u64
}

/// Sets the gates and the system-call entry. Interrupts off, `system_call` is called for each `syscall`, `handler` for
/// each other trap from user mode, the user's registers being in what [`set_current`] named last.
pub fn init(handler: extern "C" fn(), system_call: extern "C" fn()) {
    /// A present interrupt gate; its low bits choose the stack of the task state, 0 for none.
    const INTERRUPT_GATE: u64 = 0x8e00 << 32;
    const DOUBLE_FAULT: usize = 8;
    const BREAKPOINT: usize = 3;
    /// User code may use the gate by an instruction.
    const RING_3: u64 = 3 << 45;
    // SAFETY: at boot, nothing else uses the cells yet. The gates lead to the stubs below.
    unsafe {
        let entry = ENTRY.0.get();
        (*entry).handler = handler as *const () as u64;
        (*entry).system_call = system_call as *const () as u64;
        (*entry).kernel_trap = trap_in_kernel as *const () as u64;
        (*entry).interrupt = interrupt_in_kernel as *const () as u64;
        let stubs = trap_stubs as *const () as u64;
        for (vector, gate) in (*GATES.0.get()).iter_mut().enumerate() {
            let address = stubs + 16 * vector as u64;
            let own_stack = if vector == DOUBLE_FAULT { 1 << 32 } else { 0 };
            let ring = if vector == BREAKPOINT { RING_3 } else { 0 };
            gate.0[0] = address & 0xffff
                | u64::from(gdt::KERNEL_CODE) << 16
                | INTERRUPT_GATE
                | own_stack
                | ring
                | (address >> 16 & 0xffff) << 48;
            gate.0[1] = address >> 32;
        }
        #[repr(C, packed)]
        struct Pointer(u16, u64);
        let pointer = Pointer(size_of::<[Gate; VECTORS]>() as u16 - 1, GATES.0.get() as u64);
        core::arch::asm!("lidt [{}]", in(reg) &pointer, options(nostack));
        cpu::wrmsr(cpu::msr::STAR, gdt::STAR);
        cpu::wrmsr(cpu::msr::LSTAR, system_call_address());
        cpu::wrmsr(cpu::msr::SFMASK, SYSCALL_CLEARS);
    }
}

/// Makes `registers` the place where the next trap from user mode saves them, and from where the kernel returns.
///
/// # Safety
/// They stay where they are, and nobody else uses them while the thread runs in user mode.
pub unsafe fn set_current(registers: *mut Registers) {
    // SAFETY: one past the structure, as a stack that grows down wants it.
    let end = unsafe { registers.add(1) } as u64;
    // SAFETY: interrupts are off, so that nothing uses the cell now.
    unsafe { (*ENTRY.0.get()).frame_end = end };
    gdt::set_trap_stack(end);
}

/// Goes to user mode with the registers that [`set_current`] named.
pub fn enter_user() -> ! {
    // SAFETY: the entry code does what it does after every trap.
    unsafe { resume_user() }
}

/// How many interrupts came while the kernel waited for one.
#[must_use]
pub fn kernel_interrupts() -> u64 {
    WHILE_WAITING.load(Ordering::Relaxed)
}

/// Only while the kernel waits: it will look for itself at what has changed.
///
/// An interrupt that comes while interrupts are off does not get here; the entry code returns from it at once. QEMU 7.2 emulating
/// SVM delivers one twice if it is interrupted itself just after the first time (`helper_vmrun` leaves the vector in
/// `exception_index`), and the handler of the first is then on its first instructions.
extern "C" fn interrupt_in_kernel(vector: u64) {
    WHILE_WAITING.store(WHILE_WAITING.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    if vector != SPURIOUS {
        super::apic::end_of_interrupt();
    }
}

extern "C" fn trap_in_kernel(trap: &KernelTrap) -> ! {
    panic!(
        "exception {} in the kernel: error {:#x}, rip {:#x}, cs {:#x}, rflags {:#x}, rsp {:#x}, ss {:#x}, cr2 {}",
        trap.vector,
        trap.error,
        trap.rip,
        trap.cs,
        trap.rflags,
        trap.rsp,
        trap.ss,
        cpu::cr2()
    );
}

global_asm!(
    // The rest of a thread's registers, and then the kernel's stack.
    ".macro save_and_leave_frame",
    "push rdi; push rsi; push rdx; push rcx; push rax; push r8; push r9; push r10; push r11",
    "push rbx; push rbp; push r12; push r13; push r14; push r15",
    "lea rsp, [rip + {stack} + {stack_size}]",
    ".endm",
    // One stub a vector, 16 bytes each: an error code where the CPU pushes none, the vector.
    ".globl trap_stubs, system_call_entry, resume_user",
    ".balign 16",
    "trap_stubs:",
    ".set vector, 0",
    ".rept {vectors}",
    ".balign 16",
    ".if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)",
    "push 0",
    ".endif",
    "push vector",
    "jmp trap_common",
    ".set vector, vector + 1",
    ".endr",
    "trap_common:",
    "test byte ptr [rsp + 24], 3",
    "jz 5f",
    "save_and_leave_frame",
    "cld",
    "call [rip + {entry} + 16]",
    "resume_user:",
    "mov rsp, [rip + {entry} + 8]",
    "sub rsp, {registers}",
    "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
    "pop r11; pop r10; pop r9; pop r8; pop rax; pop rcx; pop rdx; pop rsi; pop rdi",
    "cmp qword ptr [rsp], {system_call}",
    "je 4f",
    "add rsp, 16",
    "iretq",
    "4:",
    "mov rsp, [rsp + 40]",
    "sysretq",
    // `syscall` in ring 0: RCX and R11 hold RIP and RFLAGS, RSP is still the user's.
    ".balign 16",
    "system_call_entry:",
    "mov [rip + {entry}], rsp",
    "mov rsp, [rip + {entry} + 8]",
    "push {user_data}",
    "push [rip + {entry}]",
    "push r11",
    "push {user_code}",
    "push rcx",
    "push 0",
    "push {system_call}",
    "save_and_leave_frame",
    "call [rip + {entry} + 24]",
    "jmp resume_user",
    // A trap in the kernel. The CPU aligned the stack before it pushed.
    "5:",
    "cmp qword ptr [rsp], {timer}",
    "jae 6f",
    "cld",
    "mov rdi, rsp",
    "and rsp, -16",
    "call [rip + {entry} + 32]",
    // An interrupt: bit 9 of the flags says whether it was allowed.
    "6:",
    "test byte ptr [rsp + 33], 2",
    "jz 7f",
    "cld",
    "push rax; push rcx; push rdx; push rsi; push rdi; push r8; push r9; push r10; push r11",
    "mov rdi, [rsp + 72]",
    "call [rip + {entry} + 40]",
    "pop r11; pop r10; pop r9; pop r8; pop rdi; pop rsi; pop rdx; pop rcx; pop rax",
    "7:",
    "add rsp, 16",
    "iretq",
    vectors = const VECTORS,
    stack = sym KERNEL_STACK,
    stack_size = const STACK,
    entry = sym ENTRY,
    registers = const size_of::<Registers>() - offset_of!(Registers, r15),
    system_call = const SYSTEM_CALL,
    timer = const TIMER,
    user_data = const gdt::USER_DATA,
    user_code = const gdt::USER_CODE,
);
