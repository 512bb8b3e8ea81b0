//! Little-endian integers and C strings out of byte slices, with "not there" as an answer.
//!
//! Everything that walks foreign bytes goes through these, so no walker can index out of range.

/// The `N` bytes at `at`.
#[must_use]
pub fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

/// The byte at `at`.
#[must_use]
pub fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

/// The little-endian 16-bit integer at `at`.
#[must_use]
pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

/// The little-endian 32-bit integer at `at`.
#[must_use]
pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

/// The little-endian 64-bit integer at `at`.
#[must_use]
pub fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}

/// The bytes from `at` to the next NUL, at most `limit` of them; nothing when no NUL comes.
#[must_use]
pub fn cstr_at(bytes: &[u8], at: usize, limit: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let window = rest.get(..limit.saturating_add(1)).unwrap_or(rest);
    window.get(..memchr::memchr(0, window)?)
}

/// A 64-bit figure of the file as an index; what does not fit can index nothing.
#[must_use]
pub fn index(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

/// A length as a 64-bit figure.
#[must_use]
pub fn wide(value: usize) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_outside_is_absent() {
        let bytes = [1, 2, 3, 4, 5, 6, 7, 8, 9];
        assert_eq!(u64_at(&bytes, 1), Some(0x0908_0706_0504_0302));
        assert_eq!(u64_at(&bytes, 2), None);
        assert_eq!(u32_at(&bytes, usize::MAX), None);
        assert_eq!(u16_at(&bytes, 8), None);
        assert_eq!(cstr_at(b"abc\0def", 1, 10), Some(&b"bc"[..]));
        assert_eq!(cstr_at(b"abc\0def", 0, 2), None);
        assert_eq!(cstr_at(b"abc\0def", 4, 10), None);
    }
}
