//! What the integration tests share.

/// Counts a test as skipped: says why, and fails where nothing may be skipped.
pub(crate) fn skip(reason: &str) {
    println!("SKIPPED: {reason}");
    assert!(std::env::var_os("GOINIT_TEST_STRICT").is_none(), "skipped: {reason}");
}
