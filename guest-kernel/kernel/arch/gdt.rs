//! Segments and the task state: flat segments for both rings and the stacks that traps switch to.

use core::arch::asm;
use core::cell::UnsafeCell;

/// Kernel code segment.
pub const KERNEL_CODE: u16 = 0x08;
/// Kernel data segment.
pub const KERNEL_DATA: u16 = 0x10;
/// User data segment; `sysret` wants it below the code segment.
pub const USER_DATA: u16 = 0x20 | 3;
/// User code segment.
pub const USER_CODE: u16 = 0x28 | 3;
const TASK: u16 = 0x30;
/// What STAR holds: `syscall` takes KERNEL_CODE and the next, `sysret` takes 0x18 + 8 and + 16.
pub const STAR: u64 = (0x18 | 3) << 48 | (KERNEL_CODE as u64) << 32;

/// The task state segment (Intel SDM volume 3, 8.7).
#[repr(C, packed(4))]
struct TaskState {
    reserved: u32,
    /// Stacks for traps that raise the privilege.
    stacks: [u64; 3],
    reserved_1: u64,
    /// Stacks that single gates ask for; the first is the double fault's.
    interrupt_stacks: [u64; 7],
    reserved_2: [u16; 5],
    io_map: u16,
}

#[repr(C, align(16))]
struct Tables {
    gdt: [u64; 8],
    task: TaskState,
    fault_stack: [u8; 4096],
}

struct Cell(UnsafeCell<Tables>);
// SAFETY: one CPU, and the kernel is never re-entered: each function below has the tables for itself.
unsafe impl Sync for Cell {}

static TABLES: Cell = Cell(UnsafeCell::new(Tables {
    gdt: [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_fb00_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        0,
        0,
    ],
    task: TaskState {
        reserved: 0,
        stacks: [0; 3],
        reserved_1: 0,
        interrupt_stacks: [0; 7],
        reserved_2: [0; 5],
        io_map: size_of::<TaskState>() as u16,
    },
    fault_stack: [0; 4096],
}));

#[repr(C, packed)]
struct Pointer {
    limit: u16,
    base: u64,
}

/// Loads the segments. Once, at boot.
pub fn init() {
    // SAFETY: the tables are static; the selectors name the descriptors above, which are flat as the
    // segments in use are, so the kernel runs on unchanged.
    unsafe {
        let tables = TABLES.0.get();
        let task = &raw const (*tables).task as u64;
        let limit = size_of::<TaskState>() as u64 - 1;
        (*tables).gdt[6] = limit | (task & 0xff_ffff) << 16 | 0x89 << 40 | (task >> 24 & 0xff) << 56;
        (*tables).gdt[7] = task >> 32;
        (*tables).task.interrupt_stacks[0] = (&raw const (*tables).fault_stack) as u64 + 4096;
        let pointer = Pointer { limit: 8 * 8 - 1, base: &raw const (*tables).gdt as u64 };
        asm!(
            "lgdt [{pointer}]",
            "push {code}",
            "lea {t}, [rip + 2f]",
            "push {t}",
            "retfq",
            "2:",
            "mov ss, {data:x}",
            "mov ds, {data:x}",
            "mov es, {data:x}",
            "xor {t:e}, {t:e}",
            "mov fs, {t:x}",
            "mov gs, {t:x}",
            "ltr {task:x}",
            pointer = in(reg) &pointer,
            code = in(reg) u64::from(KERNEL_CODE),
            data = in(reg) u64::from(KERNEL_DATA),
            task = in(reg) u64::from(TASK),
            t = out(reg) _,
        );
    }
}

/// Sets where the CPU puts the state of interrupted user code: it pushes downwards from `top`.
pub fn set_trap_stack(top: u64) {
    // SAFETY: the only access at this moment (see Cell); the CPU reads it at the next trap.
    unsafe { (*TABLES.0.get()).task.stacks[0] = top };
}
