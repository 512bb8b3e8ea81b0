//! Which CPU limit the Go runtime finds by itself, from 1.25 on: a model of its reader
//! (internal/runtime/cgroup), with its errors, because goinit only has to step in where the
//! runtime's answer would be another one.
//!
//! Both readers take the first mount that fits in mountinfo's order, look at the process's own
//! cgroup and at no ancestor, do not know that a mount can be covered, and give up at the first
//! line they cannot take apart.

use crate::linux::cgroup::{Quota, Version};
use crate::linux::mountinfo::{self, Mount, Mounts};

/// The two readers there have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoReader {
    /// Go 1.25: ignores the root of a mount, so that it misses bind mounts of a part
    /// (golang/go#76390).
    Go25,
    /// Go 1.26 and later.
    Go26,
}

/// What each reader finds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoView {
    /// Go 1.25.
    pub go25: Option<Quota>,
    /// Go 1.26 and later.
    pub go26: Option<Quota>,
}

impl GoView {
    /// What a release finds; nothing before 1.25.
    #[must_use]
    pub fn of(self, release: (u32, u32)) -> Option<Quota> {
        match release {
            (1, ..=24) | (0, _) => None,
            (1, 25) => self.go25,
            _ => self.go26,
        }
    }
}

impl GoReader {
    /// The directory that this reader takes for the process's cgroup, and its version.
    #[must_use]
    pub fn directory(
        self,
        cgroup: Option<&[u8]>,
        mounts: Option<&Mounts<'_>>,
    ) -> Option<(Version, Vec<u8>)> {
        let (version, path) = member(cgroup?)?;
        let (found, gives_up) = mounts?.strictly();
        let directory = match self {
            Self::Go25 => [last_or_v1(found, gives_up)?, path].concat(),
            Self::Go26 => first_that_fits(found, version, path)?,
        };
        Some((version, directory))
    }
}

/// `parseCPUCgroup`: one odd line before the answer is an error.
fn member(text: &[u8]) -> Option<(Version, &[u8])> {
    let mut unified = None;
    for line in lines(text) {
        let mut parts = line.splitn(3, |b| *b == b':');
        let (id, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        if path.first() != Some(&b'/') {
            return None;
        }
        if id == b"0" {
            unified = Some((Version::V2, path));
        } else if controllers.split(|b| *b == b',').any(|name| name == b"cpu") {
            return Some((Version::V1, path));
        }
    }
    unified
}

/// `parseCPUMount` of Go 1.25: the first v1 mount with cpu, else the last cgroup2 mount.
fn last_or_v1<'m>(mounts: &'m [Mount<'_>], gives_up: bool) -> Option<&'m [u8]> {
    let v1 = mounts.iter().find(|mount| mount.is_v1_of("cpu"));
    let last = || mounts.iter().rfind(|mount| mount.is_v2()).filter(|_| !gives_up);
    v1.or_else(last).map(|mount| &*mount.point)
}

/// `parseCPUMount` of Go 1.26: the first mount whose root holds the path.
fn first_that_fits(mounts: &[Mount<'_>], version: Version, path: &[u8]) -> Option<Vec<u8>> {
    mounts.iter().find_map(|mount| {
        let fits = match version {
            Version::V1 => mount.is_v1_of("cpu"),
            Version::V2 => mount.is_v2(),
        };
        let rest = fits.then(|| mountinfo::strip(path, &mount.root)).flatten()?;
        let below = mountinfo::strip(rest, b"/..").is_none();
        below.then(|| [&*mount.point, rest].concat())
    })
}

/// Go's line reader: what follows the last line end is a line of its own, unless it is empty.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.strip_suffix(b"\n").unwrap_or(text).split(|b| *b == b'\n')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Directories of both readers, for `/proc/self/cgroup` and mountinfo.
    fn check(cgroup: &str, mountinfo: &str, go25: Option<&str>, go26: Option<&str>) {
        let find = |reader: GoReader| {
            let found = reader
                .directory(Some(cgroup.as_bytes()), Some(&Mounts::read(mountinfo.as_bytes())));
            found.map(|(_, directory)| String::from_utf8(directory).unwrap())
        };
        assert_eq!(find(GoReader::Go25).as_deref(), go25, "Go 1.25, {cgroup}");
        assert_eq!(find(GoReader::Go26).as_deref(), go26, "Go 1.26, {cgroup}");
    }

    #[test]
    fn both_find_the_plain_layouts() {
        let v2 = "31 23 0:26 / /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
        check("0::/\n", v2, Some("/sys/fs/cgroup/"), Some("/sys/fs/cgroup"));
        check("0::/a/b\n", v2, Some("/sys/fs/cgroup/a/b"), Some("/sys/fs/cgroup/a/b"));
        let v1 = "31 23 0:26 / /c/cpu ro - cgroup cgroup rw,cpu\n";
        check("2:cpu:/a\n0::/b\n", v1, Some("/c/cpu/a"), Some("/c/cpu/a"));
    }

    #[test]
    fn bind_mounts_are_missed_by_1_25_only() {
        let bind = "31 23 0:26 /docker/x /c/cpu ro - cgroup cgroup rw,cpu\n";
        check("2:cpu:/docker/x\n", bind, Some("/c/cpu/docker/x"), Some("/c/cpu"));
    }

    #[test]
    fn an_odd_line_or_a_foreign_root_stops_them() {
        let odd = "5 4 0:1 / /x ro ext4\n31 23 0:26 / /c ro - cgroup2 c rw\n";
        check("0::/\n", odd, None, None);
        let host = "31 23 0:26 /../.. /c ro - cgroup2 c rw\n";
        check("0::/\n", host, Some("/c/"), None);
        check("0::/../x\n", "31 23 0:26 / /c ro - cgroup2 c rw\n", Some("/c/../x"), None);
        check("odd\n0::/\n", host, None, None);
        check("1:name=systemd:/\n", host, None, None);
    }
}
