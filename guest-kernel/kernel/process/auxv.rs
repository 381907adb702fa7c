//! What a program finds on its stack: arguments, environment and the auxiliary vector (System V psABI, 3.4.1).

use alloc::vec::Vec;

use abi::addr::{Gva, PAGE_SIZE};

/// Entries of the auxiliary vector that are not strings, as (type, value).
pub type Auxiliary = (u64, u64);

/// Types of the auxiliary vector (getauxval(3)).
pub mod kind {
    #![allow(missing_docs)]
    pub const PHDR: u64 = 3;
    pub const PHENT: u64 = 4;
    pub const PHNUM: u64 = 5;
    pub const PAGESZ: u64 = 6;
    pub const BASE: u64 = 7;
    pub const FLAGS: u64 = 8;
    pub const ENTRY: u64 = 9;
    pub const UID: u64 = 11;
    pub const EUID: u64 = 12;
    pub const GID: u64 = 13;
    pub const EGID: u64 = 14;
    pub const PLATFORM: u64 = 15;
    pub const HWCAP: u64 = 16;
    pub const CLKTCK: u64 = 17;
    pub const SECURE: u64 = 23;
    pub const RANDOM: u64 = 25;
    pub const HWCAP2: u64 = 26;
    pub const EXECFN: u64 = 31;
}

/// The words and strings of a new stack.
pub struct Stack {
    /// Where the image goes; the first stack pointer.
    pub start: Gva,
    /// Its bytes.
    pub image: Vec<u8>,
    /// Where the arguments' strings are, for /proc/self/cmdline.
    pub argument_bytes: usize,
}

/// Lays out a stack that ends at `top`.
#[must_use]
pub fn build(
    top: Gva,
    argv: &[&[u8]],
    envp: &[&[u8]],
    path: &[u8],
    random: &[u8; 16],
    auxiliary: &[Auxiliary],
) -> Stack {
    let mut strings = Vec::new();
    let mut add = |string: &[u8]| {
        let at = strings.len() as u64;
        strings.extend_from_slice(string);
        strings.push(0);
        at
    };
    let arguments: Vec<u64> = argv.iter().map(|string| add(string)).collect();
    let environment: Vec<u64> = envp.iter().map(|string| add(string)).collect();
    let (path, platform, random) = (add(path), add(b"x86_64"), add(random));
    let strings_at = (top.0 - 8 - strings.len() as u64) & !15;

    let mut words = alloc::vec![arguments.len() as u64];
    words.extend(arguments.iter().map(|at| strings_at + at));
    words.push(0);
    words.extend(environment.iter().map(|at| strings_at + at));
    words.push(0);
    let strings_of = [(kind::EXECFN, path), (kind::PLATFORM, platform), (kind::RANDOM, random)]
        .map(|(kind, at)| (kind, strings_at + at));
    let constant = [(kind::PAGESZ, PAGE_SIZE as u64), (kind::CLKTCK, 100)];
    for (kind, value) in auxiliary.iter().copied().chain(constant).chain(strings_of).chain([(0, 0)]) {
        words.extend([kind, value]);
    }
    let start = (strings_at - 8 * words.len() as u64) & !15;
    let mut image: Vec<u8> = words.into_iter().flat_map(u64::to_le_bytes).collect();
    image.resize((strings_at - start) as usize, 0);
    image.append(&mut strings);
    let argument_bytes = argv.iter().map(|argument| argument.len() + 1).sum();
    Stack { start: Gva(start), image, argument_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_finds_its_arguments_where_the_abi_says() {
        let stack = build(
            Gva(0x8000),
            &[b"sort", b"-n"],
            &[b"A=1"],
            b"/bin/sort",
            &[9; 16],
            &[(kind::ENTRY, 0x1234)],
        );
        assert!(stack.start.0.is_multiple_of(16) && stack.start.0 + (stack.image.len() as u64) < 0x8000);
        let word = |n: usize| u64::from_le_bytes(stack.image[8 * n..8 * n + 8].try_into().unwrap());
        let string = |at: u64| {
            let rest = &stack.image[(at - stack.start.0) as usize..];
            &rest[..rest.iter().position(|&byte| byte == 0).unwrap()]
        };
        assert_eq!(word(0), 2);
        assert_eq!([string(word(1)), string(word(2)), string(word(4))], [&b"sort"[..], b"-n", b"A=1"]);
        assert_eq!([word(3), word(5)], [0, 0]);
        assert_eq!([word(6), word(7)], [kind::ENTRY, 0x1234]);
        let pairs: Vec<_> =
            (6..).step_by(2).map(|n| (word(n), word(n + 1))).take_while(|pair| pair.0 != 0).collect();
        let value = |kind| pairs.iter().find(|pair| pair.0 == kind).unwrap().1;
        assert_eq!(string(value(kind::EXECFN)), b"/bin/sort");
        assert_eq!(string(value(kind::RANDOM)), [9; 16]);
    }
}
