//! Numbers in as few bytes as they need.

/// The longest varint: ten times seven bits hold 64.
pub(super) const LONGEST: usize = 10;

/// Writes the number to the start of `to`, which has room, and returns how many bytes it took.
pub(super) fn put(to: &mut [u8], mut number: u64) -> usize {
    let mut length = 0;
    while number >= 0x80 {
        to[length] = number as u8 | 0x80;
        number >>= 7;
        length += 1;
    }
    to[length] = number as u8;
    length + 1
}

/// Signed numbers near zero as small unsigned ones: 0, -1, 1, -2, ...
pub(super) const fn zigzag(number: i64) -> u64 {
    (number << 1 ^ number >> 63) as u64
}

/// Undoes [`zigzag`].
pub(super) const fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}
