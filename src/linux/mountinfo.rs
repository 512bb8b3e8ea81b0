//! `/proc/PID/mountinfo` (proc_pid_mountinfo(5)): which file system is mounted where, and whether
//! another mount hides it.
//!
//! Lines that cannot be understood are skipped: WSL2 prints unescaped blanks, and one odd line
//! must not hide the cgroup mount behind it. procfs's parser fails as a whole there.

use std::borrow::Cow;

/// One line of mountinfo. Root and mount point are decoded (`\040` is a blank), the rest is raw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Number of this mount.
    pub id: u32,
    /// Number of the mount it sits on.
    pub parent: u32,
    /// The directory of the file system that is visible at the mount point. In another cgroup
    /// namespace than the one mounted from, it can begin with `/..`.
    pub root: Cow<'a, [u8]>,
    /// Where it is mounted, as seen from the process's root directory.
    pub point: Cow<'a, [u8]>,
    /// Options of this mount: `rw,nosuid,noexec`.
    pub options: &'a [u8],
    /// File system type: `cgroup2`, `ext4`.
    pub fstype: &'a [u8],
    /// Options of the file system; for cgroup v1 the controllers are among them.
    pub super_options: &'a [u8],
}

impl<'a> Mount<'a> {
    /// One line, or nothing if it is not one.
    #[must_use]
    pub fn parse(line: &'a [u8]) -> Option<Self> {
        let (place, fields) = Place::parse(line)?;
        Self::of(place, fields)
    }

    /// A line whose beginning is known.
    fn of(place: Place<'a>, mut fields: Fields<'a>) -> Option<Self> {
        let options = fields.next()?;
        // Optional fields (`shared:1`) end at a lone hyphen.
        while fields.next()? != b"-" {}
        let fstype = fields.next()?;
        fields.next()?;
        let super_options = fields.next().unwrap_or_default();
        let Place { id, parent, .. } = place;
        let (root, point) = (unescape(place.root), unescape(place.point));
        let absolute = root.first() == Some(&b'/') && point.first() == Some(&b'/');
        absolute.then_some(Self { id, parent, root, point, options, fstype, super_options })
    }

    /// Whether this is a cgroup v1 hierarchy with this controller, compared as a whole word:
    /// `cpuset` is not `cpu`, and neither is a hierarchy *named* `cpu` (`name=cpu`).
    #[must_use]
    pub fn is_v1_of(&self, controller: &str) -> bool {
        self.fstype == b"cgroup" && has_word(self.super_options, controller)
    }

    /// Whether this is the unified hierarchy.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.fstype == b"cgroup2"
    }

    /// Whether programs on this mount cannot be executed.
    #[must_use]
    pub fn is_noexec(&self) -> bool {
        has_word(self.options, "noexec")
    }
}

/// Every line that can be understood, in order.
pub fn mounts(text: &[u8]) -> impl Iterator<Item = Mount<'_>> {
    lines(text).filter_map(Mount::parse)
}

/// As the kernel counts lines: what follows the last line end is one too, unless it is empty.
fn lines(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.strip_suffix(b"\n").unwrap_or(text).split(|b| *b == b'\n')
}

/// The fields of a line, from left to right.
struct Fields<'a>(Option<&'a [u8]>);

impl<'a> Iterator for Fields<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.0?;
        let Some((field, rest)) = rest.iter().position(|b| *b == b' ').and_then(|end| {
            let (field, rest) = rest.split_at_checked(end)?;
            Some((field, rest.get(1..)?))
        }) else {
            return self.0.take();
        };
        self.0 = Some(rest);
        Some(field)
    }
}

/// How many mounts up a mount's ancestors are followed; Linux nests a handful.
const ANCESTORS_MAX: usize = 16;

/// The fields of a line that tell what hides what. Root and mount point are as they are written:
/// equal places are written alike, and an escape never stands for a slash.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    id: u32,
    parent: u32,
    root: &'a [u8],
    point: &'a [u8],
}

impl<'a> Place<'a> {
    /// The beginning of a line, and what follows it.
    fn parse(line: &'a [u8]) -> Option<(Self, Fields<'a>)> {
        let mut fields = Fields(Some(line.strip_suffix(b"\r").unwrap_or(line)));
        let (id, parent) = (number(fields.next()?)?, number(fields.next()?)?);
        fields.next()?;
        let (root, point) = (fields.next()?, fields.next()?);
        fields.0.is_some().then_some((Self { id, parent, root, point }, fields))
    }

    /// Whether this mount hides `link`, which something below `link` is reached through. On the
    /// mount itself (`last`) only its very mount point hides it, on an ancestor every point that
    /// the path to the next link runs through. `later` is whether this line comes after it.
    fn hides(self, link: Self, last: bool, later: bool) -> bool {
        // The root of an initramfs is its own parent.
        if self.id == link.id || self.id == self.parent {
            return false;
        }
        let on_it = last && self.parent == link.id && self.point == link.point;
        let beside = self.parent == link.parent
            && is_below(link.point, self.point)
            && (self.point != link.point || later);
        on_it || beside
    }
}

/// What the search for control groups needs to know of a whole mountinfo, from one pass over it:
/// every start of a program waits for this.
#[derive(Debug)]
pub struct Mounts<'a> {
    places: Vec<Place<'a>>,
    cgroups: Vec<Mount<'a>>,
    /// How many of `cgroups` stand before the first line that cannot be understood, if there is
    /// such a line.
    odd: Option<usize>,
}

impl<'a> Mounts<'a> {
    /// Takes every line apart.
    #[must_use]
    pub fn read(text: &'a [u8]) -> Self {
        let mut all = Self { places: Vec::with_capacity(64), cgroups: Vec::new(), odd: None };
        for line in lines(text) {
            let beginning = Place::parse(line);
            all.places.extend(beginning.as_ref().map(|(place, _)| *place));
            match beginning.and_then(|(place, fields)| Mount::of(place, fields)) {
                Some(mount) if mount.fstype.starts_with(b"cgroup") => all.cgroups.push(mount),
                Some(_) => {}
                None => all.odd = all.odd.or(Some(all.cgroups.len())),
            }
        }
        all
    }

    /// The control group hierarchies, of either version, in order.
    #[must_use]
    pub fn cgroups(&self) -> &[Mount<'a>] {
        &self.cgroups
    }

    /// The hierarchies that a reader finds who gives up at the first line he cannot understand,
    /// and whether he does.
    #[must_use]
    pub fn strictly(&self) -> (&[Mount<'a>], bool) {
        let count = self.odd.unwrap_or(self.cgroups.len());
        (self.cgroups.get(..count).unwrap_or_default(), self.odd.is_some())
    }

    /// Whether something is mounted over this mount, so that its mount point shows other files.
    ///
    /// A mount is hidden when another one sits on it, or on one of its ancestors, at or above the
    /// place where the chain to this mount continues. The kernel never lets a path be mounted on
    /// through a covering mount, so whatever lies below one is older and hidden.
    #[must_use]
    pub fn covers(&self, mount: &Mount<'_>) -> bool {
        let mut wanted = mount.id;
        for step in 0..ANCESTORS_MAX {
            let Some(at) = self.places.iter().position(|place| place.id == wanted) else {
                return false;
            };
            let Some(&link) = self.places.get(at) else { return false };
            let mut places = self.places.iter().enumerate();
            if places.any(|(index, place)| place.hides(link, step == 0, index > at)) {
                return true;
            }
            if link.parent == link.id {
                return false;
            }
            wanted = link.parent;
        }
        false
    }
}

/// The mount that a path lies on: the deepest mount point, the last one of several at one place.
#[must_use]
pub fn mount_of<'a>(text: &'a [u8], path: &[u8]) -> Option<Mount<'a>> {
    let mut best: Option<Mount<'_>> = None;
    for mount in mounts(text).filter(|mount| is_below(path, &mount.point)) {
        if best.as_ref().is_none_or(|best| mount.point.len() >= best.point.len()) {
            best = Some(mount);
        }
    }
    best
}

/// What is left of `path` below `ancestor`, or nothing if it is not below it. `/pod` is not above
/// `/podium`. The rest begins with `/` or is empty.
#[must_use]
pub fn strip<'a>(path: &'a [u8], ancestor: &[u8]) -> Option<&'a [u8]> {
    let ancestor = ancestor.strip_suffix(b"/").unwrap_or(ancestor);
    let rest = path.strip_prefix(ancestor)?;
    match rest {
        b"" | b"/" => Some(b""),
        [b'/', ..] => Some(rest),
        _ => None,
    }
}

/// Whether `path` is `ancestor` or lies below it.
fn is_below(path: &[u8], ancestor: &[u8]) -> bool {
    strip(path, ancestor).is_some()
}

/// Whether a comma-separated list has this word.
fn has_word(list: &[u8], word: &str) -> bool {
    list.split(|b| *b == b',').any(|item| item == word.as_bytes())
}

fn number(field: &[u8]) -> Option<u32> {
    let digit = |b: u8| b.is_ascii_digit().then(|| u32::from(b - b'0'));
    let add = |sum: u32, b: &u8| sum.checked_mul(10)?.checked_add(digit(*b)?);
    if field.is_empty() { None } else { field.iter().try_fold(0, add) }
}

/// Decodes the octal escapes of blank, tab, newline and backslash (show_mountinfo in the kernel).
fn unescape(field: &[u8]) -> Cow<'_, [u8]> {
    if !field.contains(&b'\\') {
        return Cow::Borrowed(field);
    }
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match tail {
            [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', after @ ..] if *first == b'\\' => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest = after;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_a_mount_point_are_decoded() {
        let mount = Mount::parse(b"33 32 0:26 / /run/cg\\040two rw - cgroup2 cgroup rw").unwrap();
        assert_eq!(&*mount.point, b"/run/cg two");
        assert!(mount.is_v2());
    }

    #[test]
    fn optional_fields_are_skipped_and_odd_lines_ignored() {
        let text = b"1 0 0:1 / / rw shared:1 master:2 - ext4 /dev/root rw\n\
            nonsense\n\n2 1 0:2 /\n3 1 0:3 / /c rw - cgroup cgroup rw,cpu,cpuacct\n";
        let all: Vec<_> = mounts(text).collect();
        assert_eq!(all.len(), 2);
        assert!(all[1].is_v1_of("cpu") && all[1].is_v1_of("cpuacct") && !all[1].is_v1_of("acct"));
    }

    #[test]
    fn a_hierarchy_named_cpu_is_not_the_cpu_controller() {
        let mount = Mount::parse(b"3 1 0:3 / /c rw - cgroup cgroup rw,name=cpu,cpuset").unwrap();
        assert!(!mount.is_v1_of("cpu"));
    }

    #[test]
    fn paths_are_compared_at_component_boundaries() {
        assert_eq!(strip(b"/pod/a", b"/pod"), Some(&b"/a"[..]));
        assert_eq!(strip(b"/podium", b"/pod"), None);
        assert_eq!(strip(b"/pod", b"/"), Some(&b"/pod"[..]));
        assert_eq!(strip(b"/", b"/"), Some(&b""[..]));
        assert_eq!(strip(b"/", b"/../.."), None);
    }

    #[test]
    fn only_cgroup_lines_are_found_whatever_else_stands_in_a_line() {
        let text = b"1 0 0:1 / / rw - ext4 r rw\n\
            2 1 0:2 / /a\\040-\\040cgroup rw - ext4 r rw\n\
            3 1 0:3 / /b rw - cgroupish x rw\n\
            4 1 0:4 / /c rw shared:1 - cgroup - rw,cpu\r\n\
            5 1 0:5 / /d rw - cgroup2 cgroup rw";
        let found = Mounts::read(text);
        let ids: Vec<_> = found.cgroups().iter().map(|mount| mount.id).collect();
        assert_eq!(ids, [3, 4, 5]);
        let cpu = found.cgroups().iter().filter(|mount| mount.is_v1_of("cpu")).count();
        assert_eq!(cpu, 1, "a source called - and a carriage return do no harm");
        assert!(Mounts::read(b" - cgroup - cgroup").cgroups().is_empty());
    }

    #[test]
    fn of_two_mounts_beside_each_other_at_one_place_the_later_one_shows() {
        let text = b"1 0 0:1 / / rw - ext4 r rw\n\
            7 1 0:7 / /c rw - cgroup2 c rw\n\
            8 1 0:7 /x /c rw - cgroup2 c rw\n\
            9 1 0:9 / /cc rw - cgroup2 c rw\n";
        let table = Mounts::read(text);
        let covered: Vec<_> = mounts(text).map(|mount| table.covers(&mount)).collect();
        assert_eq!(covered, [false, true, false, false]);
    }

    #[test]
    fn a_circle_of_parents_ends() {
        let text = b"1 2 0:1 / /a rw - cgroup2 c rw\n2 1 0:1 / /b rw - cgroup2 c rw\n";
        let table = Mounts::read(text);
        assert!(!mounts(text).any(|mount| table.covers(&mount)));
    }

    #[test]
    fn a_mount_under_a_later_tmpfs_is_covered() {
        let text = b"1 0 0:1 / / rw - ext4 r rw\n\
            5 1 0:5 / /sys rw - sysfs s rw\n\
            6 5 0:6 / /sys/fs/cgroup rw - tmpfs t rw\n\
            7 6 0:7 / /sys/fs/cgroup/cpu rw - cgroup c rw,cpu\n\
            8 6 0:8 / /sys/fs/cgroup rw - tmpfs t rw\n\
            9 8 0:7 /x /sys/fs/cgroup/cpu rw - cgroup c rw,cpu\n";
        let all: Vec<_> = mounts(text).collect();
        let table = Mounts::read(text);
        assert!(table.covers(&all[3]), "the host's mount lies below the second tmpfs");
        assert!(!table.covers(&all[5]));
        assert!(table.covers(&all[2]));
        assert_eq!(mount_of(text, b"/sys/fs/cgroup/cpu/a").unwrap().id, 9);
    }
}
