//! Uses SIZE MiB of collections and prints a checksum: `big SIZE`.

use std::collections::BTreeMap;

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

fn main() {
    let size: u64 = std::env::args().nth(1).expect("a size in MiB").parse().expect("a number of MiB");
    let mut texts = BTreeMap::new();
    for n in 0..size * 256 {
        let words: Vec<String> = (0..240).map(|word| format!("{:016x}", mix(n << 16 | word))).collect();
        texts.insert(n, words.concat());
    }
    let bytes: usize = texts.values().map(String::len).sum();
    let sum = texts.iter().fold(0, |sum, (n, text)| {
        text.bytes().step_by(16).fold(mix(sum ^ n), |sum, byte| mix(sum ^ u64::from(byte)))
    });
    println!("{} texts, {bytes} bytes, sum {sum:016x}", texts.len());
}
