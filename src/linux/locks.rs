//! `/proc/locks`: who holds file locks, who waits for them.
//!
//! procfs's parser is not used: it drops the `->` of waiting entries, which is the one thing
//! wanted here, and fails as a whole on one odd line (`<none>:0`).

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Number of the lock; waiters carry that of the lock they wait for.
    pub id: u64,
    /// Whether this process waits.
    pub waiting: bool,
    /// `FLOCK`, `POSIX`, `OFDLCK`, `LEASE` …
    pub class: String,
    /// Whether it is (or would be) a write lock.
    pub exclusive: bool,
    /// The process; -1 for locks that belong to an open file (OFDLCK).
    pub pid: i32,
    /// The file's inode.
    pub inode: u64,
}

/// The most lines read; a machine has a few hundred.
const LIMIT: usize = 65_536;

/// Reads the file; lines that are not understood are skipped.
pub fn entries(text: &[u8]) -> impl Iterator<Item = Entry> {
    text.split(|b| *b == b'\n').take(LIMIT).filter_map(entry)
}

fn entry(line: &[u8]) -> Option<Entry> {
    let mut words = std::str::from_utf8(line).ok()?.split_ascii_whitespace().peekable();
    let id = words.next()?.strip_suffix(':')?.parse().ok()?;
    let waiting = words.next_if_eq(&"->").is_some();
    // Since 5.12 waiters of waiters are indented by blanks alone; the arrow stays.
    let class = words.next()?.to_owned();
    let _mode = words.next()?;
    let exclusive = matches!(words.next()?, "WRITE" | "RW");
    let pid = words.next()?.parse().ok()?;
    let inode = words.next()?.rsplit(':').next()?.parse().ok()?;
    Some(Entry { id, waiting, class, exclusive, pid, inode })
}

/// The waiters that `wanted` accepts, each with the entry that holds its lock, if visible.
#[must_use]
pub fn waits(entries: &[Entry], wanted: impl Fn(&Entry) -> bool) -> Vec<(&Entry, Option<&Entry>)> {
    let mut found = Vec::new();
    for waiter in entries.iter().filter(|e| e.waiting && wanted(e)) {
        let holder = entries.iter().find(|e| !e.waiting && e.id == waiter.id);
        found.push((waiter, holder));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"1: POSIX  ADVISORY  WRITE 723 00:14:16845 0 EOF\n\
        6: FLOCK  ADVISORY  WRITE 1280 fe:00:16200 0 EOF\n\
        6: -> FLOCK  ADVISORY  WRITE 1281 fe:00:16200 0 EOF\n\
        6:  -> FLOCK  ADVISORY  READ 1279 fe:00:16200 0 EOF\n\
        7: OFDLCK ADVISORY  READ  -1 00:06:1028 0 EOF\n\
        8: -> POSIX ADVISORY WRITE 44 00:06:99 0 EOF\n\
        9: LEASE  ACTIVE    READ  1 <none>:0 0 EOF\n\
        garbage\n\xff\n";

    #[test]
    fn waiters_are_matched_with_their_holder() {
        let entries: Vec<Entry> = entries(TEXT).collect();
        assert_eq!(entries.len(), 7);
        let found: Vec<_> = waits(&entries, |_| true)
            .into_iter()
            .map(|(w, h)| (w.pid, w.exclusive, h.map(|h| h.pid)))
            .collect();
        assert_eq!(found, [(1281, true, Some(1280)), (1279, false, Some(1280)), (44, true, None)]);
    }
}
