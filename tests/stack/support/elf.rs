//! Tiny 64-bit kernels: machine code in an ELF file, written without an assembler or a linker.

/// Writes one byte, `!`, to the serial port. What the kernel does next is for its user to add.
pub const WRITE_BYTE: &[u8] = &[
    0x66, 0xba, 0xf8, 0x03, // mov dx, 0x3f8
    0xb0, b'!', // mov al, '!'
    0xee, // out dx, al
];

/// An ELF file with `code` at 1 MiB, where it is entered.
pub fn kernel(code: &[u8]) -> Vec<u8> {
    const HEADERS: u64 = 64 + 56;
    const START: u64 = 0x10_0000;
    let mut file = Vec::new();
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0"); // 64 bits, little-endian, version 1
    file.extend([2u16, 62].map(u16::to_le_bytes).as_flattened()); // executable, x86-64
    file.extend(1u32.to_le_bytes());
    file.extend([START + HEADERS, 64, 0].map(u64::to_le_bytes).as_flattened()); // entry, program headers, sections
    file.extend(0u32.to_le_bytes());
    file.extend([64u16, 56, 1, 0, 0, 0].map(u16::to_le_bytes).as_flattened()); // sizes and counts of headers
    let length = HEADERS + code.len() as u64;
    file.extend([1u32, 5].map(u32::to_le_bytes).as_flattened()); // load, readable and executable
    file.extend([0, START, START, length, length, 4096].map(u64::to_le_bytes).as_flattened());
    file.extend(code);
    file
}
