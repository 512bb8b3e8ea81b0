//! Descriptors of a process: what the links in /proc/PID/fd say, and /proc/PID/fdinfo.

/// What a descriptor is, as far as its link tells. A path needs a look at the file: it may be a
/// regular file, a directory, a FIFO or a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link<'a> {
    /// A socket with its inode.
    Socket(u64),
    /// A pipe without a name, with its inode.
    Pipe(u64),
    /// `anon_inode:[eventpoll]` and its siblings: the word inside.
    Anonymous(&'a str),
    /// A memory file: its name.
    Memory(&'a str),
    /// Something with a path.
    Path(&'a str),
}

impl<'a> Link<'a> {
    /// Reads the text of a link.
    #[must_use]
    pub fn parse(text: &'a str) -> Self {
        let inode = |rest: &str| rest.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
        if let Some(inode) = text.strip_prefix("socket:").and_then(inode) {
            return Self::Socket(inode);
        }
        if let Some(inode) = text.strip_prefix("pipe:").and_then(inode) {
            return Self::Pipe(inode);
        }
        if let Some(word) = text.strip_prefix("anon_inode:") {
            return Self::Anonymous(word.trim_start_matches('[').trim_end_matches(']'));
        }
        match text.strip_prefix("/memfd:") {
            Some(name) => Self::Memory(name.strip_suffix(" (deleted)").unwrap_or(name)),
            None => Self::Path(text),
        }
    }
}

/// The descriptors in an epoll set, from its fdinfo (`tfd:` lines), at most 1024 of them.
#[must_use]
pub fn epoll_targets(text: &[u8]) -> Vec<u32> {
    let target = |line: &[u8]| {
        let rest = std::str::from_utf8(line.strip_prefix(b"tfd:")?).ok()?;
        rest.split_ascii_whitespace().next()?.parse().ok()
    };
    text.split(|b| *b == b'\n').filter_map(target).take(1024).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_told_apart() {
        for (text, expected) in [
            ("socket:[4711]", Link::Socket(4711)),
            ("pipe:[9]", Link::Pipe(9)),
            ("anon_inode:[eventpoll]", Link::Anonymous("eventpoll")),
            ("anon_inode:inotify", Link::Anonymous("inotify")),
            ("/memfd:goinit (deleted)", Link::Memory("goinit")),
            ("/data/migrate.lock (deleted)", Link::Path("/data/migrate.lock (deleted)")),
            ("pipe:[x]", Link::Path("pipe:[x]")),
            ("", Link::Path("")),
        ] {
            assert_eq!(Link::parse(text), expected);
        }
    }

    #[test]
    fn the_members_of_an_epoll_set_are_read() {
        let text = b"pos:\t0\nflags:\t02000002\nmnt_id:\t15\n\
            tfd:        5 events: 80000019 data: c0  pos:0 ino:3c sdev:8\n\
            tfd:       12 events: 2019 data: 1\ntfd: x\n";
        assert_eq!(epoll_targets(text), [5, 12]);
    }
}
