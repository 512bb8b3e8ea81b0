//! Our own memory: giving back what only the start needed.

#![expect(unsafe_code, reason = "madvise on our own text, and the linker's names for it")]

unsafe extern "C" {
    /// First byte of the executable, and first byte behind its code; made by the linker.
    static __executable_start: u8;
    static etext: u8;
}

/// Lets go of the pages of code that the start has touched: reading limits, flags and headers is
/// never needed again, and an init waits for days. What is still used comes back from the page
/// cache by itself.
pub fn forget_code() {
    const PAGE: usize = 4_096;
    let start = (&raw const __executable_start).addr().next_multiple_of(PAGE);
    let end = (&raw const etext).addr() / PAGE * PAGE;
    if let Some(length) = end.checked_sub(start).filter(|length| *length > 0) {
        let start = std::ptr::without_provenance_mut::<libc::c_void>(start);
        // SAFETY: the range is our own read-only code and constants, mapped privately from the
        // executable: MADV_DONTNEED only drops the mapping of pages that the file still holds.
        unsafe { libc::madvise(start, length, libc::MADV_DONTNEED) };
    }
}
