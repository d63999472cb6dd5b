//! Random numbers that nobody can guess.

/// 16 random bytes.
///
/// # Panics
/// When the operating system has no randomness: nothing can go on then.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).expect("the system's random number generator works");
    bytes
}

/// A random number of 128 bits.
pub(crate) fn u128() -> u128 {
    u128::from_be_bytes(bytes())
}
