//! What several modules of the tests share.

/// Says that a test cannot run here and why; a failure when GOINIT_TEST_STRICT=1.
pub(crate) fn skip(reason: &str) {
    println!("SKIPPED: {reason}");
    assert!(
        std::env::var_os("GOINIT_TEST_STRICT").is_none_or(|strict| strict != "1"),
        "skipped although GOINIT_TEST_STRICT=1: {reason}"
    );
}
