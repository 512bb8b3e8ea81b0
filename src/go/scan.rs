//! Small readers of bytes that the grammars of this floor share. Nothing here allocates.

/// A non-negative decimal number at the start of `bytes` (at most 20 digits; saturates) and the
/// number of bytes it takes.
pub(crate) fn decimal(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    let mut taken = 0usize;
    for byte in bytes.iter().take(20) {
        if !byte.is_ascii_digit() {
            break;
        }
        value = value.saturating_mul(10).saturating_add(u64::from(byte.wrapping_sub(b'0')));
        taken = taken.saturating_add(1);
    }
    (taken > 0).then_some((value, taken))
}

/// What follows `count` bytes; empty when there are not so many.
pub(crate) fn after(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(count..).unwrap_or_default()
}

/// The first `count` bytes, or all.
pub(crate) fn first(bytes: &[u8], count: usize) -> &[u8] {
    bytes.get(..count).unwrap_or(bytes)
}

/// Splits at the first `needle`: what is before it and what is after it. By its first byte, since
/// for a needle that is used once a searcher costs more than the search.
pub(crate) fn split<'a>(bytes: &'a [u8], needle: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (head, tail) = needle.split_first()?;
    memchr::memchr_iter(*head, bytes).find_map(|at| {
        let rest = after(bytes, at.saturating_add(1)).strip_prefix(tail)?;
        Some((first(bytes, at), rest))
    })
}

/// The bytes without blanks and tabs at their start.
pub(crate) fn trim_start(bytes: &[u8]) -> &[u8] {
    let blanks = bytes.iter().take_while(|b| matches!(b, b' ' | b'\t')).count();
    after(bytes, blanks)
}

/// A number that fills `bytes` wholly.
pub(crate) fn whole(bytes: &[u8]) -> Option<u64> {
    let (value, taken) = decimal(bytes)?;
    (taken == bytes.len()).then_some(value)
}

/// A figure as the runtime prints it in traces (`0.28`, `11`, never an exponent), as a float.
pub(crate) fn figure(bytes: &[u8]) -> Option<f64> {
    let shaped = !bytes.is_empty() && bytes.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    shaped.then(|| std::str::from_utf8(bytes).ok()?.parse().ok()).flatten()
}

/// Clips a 64-bit figure into the width that its field has in the runtime.
pub(crate) fn narrow(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_end_where_the_digits_end() {
        assert_eq!(decimal(b"308ms"), Some((308, 3)));
        assert_eq!(decimal(b"ms"), None);
        assert_eq!(decimal(b"99999999999999999999"), Some((u64::MAX, 20)));
        assert_eq!(whole(b"12 "), None);
        assert_eq!(figure(b"0.28"), Some(0.28));
        assert_eq!(figure(b"1e3"), None);
    }
}
