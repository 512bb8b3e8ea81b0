//! The text of cgroup files, v1 and v2: whose cgroup, limits, throttling, memory events.
//! (Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst.)
//!
//! A limit file says one of four things, and they are kept apart: no limit, a limit, not there,
//! not understood. What a limit means is `policy::limits`' business.

use std::cmp::Ordering;

/// Version of a cgroup hierarchy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// One hierarchy per controller, or per group of controllers.
    V1,
    /// The unified hierarchy.
    V2,
}

impl Version {
    /// 1 or 2.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::V1 => 1,
            Self::V2 => 2,
        }
    }
}

/// What a limit file says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Value<T> {
    /// There is no such file at this level.
    #[default]
    Absent,
    /// It says that there is no limit: `max`, -1, 0, a negative number, a period of 0.
    Unlimited,
    /// It sets this limit.
    Limit(T),
    /// It cannot be understood; to be reported, and treated as no limit.
    Malformed,
}

impl<T> Value<T> {
    /// The limit, if it is one.
    pub fn limit(self) -> Option<T> {
        match self {
            Self::Limit(limit) => Some(limit),
            Self::Absent | Self::Unlimited | Self::Malformed => None,
        }
    }
}

/// CPU time a cgroup may use per period, both in microseconds and positive. Ordered by quotient.
#[derive(Clone, Copy, Debug)]
pub struct Quota {
    /// CPU time per period, µs.
    pub quota_us: u64,
    /// Length of a period, µs; 100000 unless somebody changed it.
    pub period_us: u64,
}

impl Quota {
    /// CPUs, as a fraction.
    #[must_use]
    pub fn cpus(self) -> f64 {
        // A period or quota of 2^53 µs is 285 years: the conversion is exact for real values.
        #[expect(clippy::cast_precision_loss, reason = "exact below 2^53 microseconds")]
        let cpus = self.quota_us as f64 / self.period_us.max(1) as f64;
        cpus
    }

    /// Thousandths of a CPU, rounded to the nearest; 0.0004 CPUs become 0.
    #[must_use]
    pub fn millicores(self) -> u64 {
        let period = u128::from(self.period_us.max(1));
        let milli = (u128::from(self.quota_us) * 1000 + period / 2) / period;
        u64::try_from(milli).unwrap_or(u64::MAX)
    }

    /// Whole CPUs, rounded up; at least 1.
    #[must_use]
    pub fn ceil(self) -> u64 {
        self.quota_us.div_ceil(self.period_us.max(1)).max(1)
    }

    /// Whole CPUs, rounded down; at least 1, as automaxprocs does.
    #[must_use]
    pub fn floor(self) -> u64 {
        (self.quota_us / self.period_us.max(1)).max(1)
    }

    fn product(self, other: Self) -> (u128, u128) {
        let mine = u128::from(self.quota_us) * u128::from(other.period_us);
        let theirs = u128::from(other.quota_us) * u128::from(self.period_us);
        (mine, theirs)
    }
}

impl Ord for Quota {
    fn cmp(&self, other: &Self) -> Ordering {
        let (mine, theirs) = self.product(*other);
        mine.cmp(&theirs)
    }
}

impl PartialOrd for Quota {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Quota {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Quota {}

/// From this many bytes on a v1 memory limit means none: the kernel prints LONG_MAX rounded down
/// to a page, which differs between 4 KiB and 64 KiB pages.
pub const UNLIMITED_BYTES: u64 = 1 << 62;

/// The kernel's period when cpu.max names none, µs.
const PERIOD_DEFAULT_US: u64 = 100_000;

/// Where `/proc/PID/cgroup` says that a controller lives: the v1 line that names it, else the
/// `0::` line. The path is not escaped and may contain colons.
#[must_use]
pub fn membership<'a>(text: &'a [u8], controller: &str) -> Option<(Version, &'a [u8])> {
    let mut unified = None;
    for line in text.split(|b| *b == b'\n') {
        let mut parts = line.splitn(3, |b| *b == b':');
        let (Some(id), Some(controllers), Some(path)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if path.first() != Some(&b'/') {
            continue;
        }
        if controllers.split(|b| *b == b',').any(|name| name == controller.as_bytes()) {
            return Some((Version::V1, path));
        }
        if id == b"0" && controllers.is_empty() {
            unified = Some((Version::V2, path));
        }
    }
    unified
}

/// Whether `/proc/PID/cgroup` says anything at all.
#[must_use]
pub fn has_members(text: &[u8]) -> bool {
    text.split(|b| *b == b'\n').any(|line| {
        let path = line.splitn(3, |b| *b == b':').nth(2);
        path.is_some_and(|path| path.first() == Some(&b'/'))
    })
}

/// `cpu.max`: `150000 100000`, `max 100000`, or a quota alone.
#[must_use]
pub fn cpu_max(text: &[u8]) -> Value<Quota> {
    let Some(text) = trimmed(text) else { return Value::Malformed };
    let mut words = text.split_ascii_whitespace();
    let quota = words.next();
    let period = words.next();
    if words.next().is_some() {
        return Value::Malformed;
    }
    let Some(period_us) = period_us(period) else { return Value::Malformed };
    match quota {
        Some("max") => Value::Unlimited,
        Some(quota) => bandwidth(integer(quota), period_us),
        None => Value::Malformed,
    }
}

/// `cpu.cfs_quota_us` and `cpu.cfs_period_us`; a missing period is the default one.
#[must_use]
pub fn cpu_cfs(quota: &[u8], period: Option<&[u8]>) -> Value<Quota> {
    let quota = trimmed(quota).map(integer).unwrap_or(Value::Malformed);
    let period = period.map(|text| trimmed(text).unwrap_or_default());
    let Some(period_us) = period_us(period) else { return Value::Malformed };
    bandwidth(quota, period_us)
}

/// A period, µs: the default one when none is written, 0 for one that limits nothing; nothing if
/// it cannot be understood.
fn period_us(text: Option<&str>) -> Option<u64> {
    match text.map_or(Value::Limit(PERIOD_DEFAULT_US), integer) {
        Value::Limit(period) => Some(period),
        Value::Unlimited | Value::Absent => Some(0),
        Value::Malformed => None,
    }
}

/// `memory.max`, `memory.high` or `memory.limit_in_bytes`.
#[must_use]
pub fn memory_limit(text: &[u8]) -> Value<u64> {
    match trimmed(text) {
        Some("max") => Value::Unlimited,
        // More digits than 64 bits hold are a number of bytes all the same.
        Some(text) if text.len() > 19 && text.bytes().all(|b| b.is_ascii_digit()) => {
            Value::Unlimited
        }
        Some(text) => match integer(text) {
            Value::Limit(bytes) if bytes >= UNLIMITED_BYTES => Value::Unlimited,
            value @ (Value::Limit(_) | Value::Unlimited | Value::Absent | Value::Malformed) => {
                value
            }
        },
        None => Value::Malformed,
    }
}

/// `hierarchical_memory_limit` of a v1 `memory.stat`: the smallest limit of the cgroup and all
/// its ancestors, also of those that cannot be seen from here.
#[must_use]
pub fn hierarchical_memory_limit(stat: &[u8]) -> Value<u64> {
    match field(stat, b"hierarchical_memory_limit") {
        Some(text) => memory_limit(text),
        None => Value::Absent,
    }
}

/// How often a cgroup was throttled since it was made: `cpu.stat` of either version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Throttling {
    /// Enforcement periods in which the cgroup wanted to run.
    pub periods: u64,
    /// Periods in which its quota ran out.
    pub throttled: u64,
    /// Time its threads stood still for that, µs, summed over CPUs.
    pub throttled_us: u64,
}

impl Throttling {
    /// What happened since an earlier reading; a counter that went back counts as 0.
    #[must_use]
    pub fn since(self, earlier: Self) -> Self {
        Self {
            periods: self.periods.saturating_sub(earlier.periods),
            throttled: self.throttled.saturating_sub(earlier.throttled),
            throttled_us: self.throttled_us.saturating_sub(earlier.throttled_us),
        }
    }

    /// Share of periods that were throttled, 0 to 100; nothing without a period.
    #[must_use]
    pub fn percent(self) -> Option<f64> {
        #[expect(clippy::cast_precision_loss, reason = "counters of periods stay below 2^53")]
        let percent = 100.0 * self.throttled as f64 / self.periods as f64;
        (self.periods > 0).then_some(percent)
    }
}

/// Reads `cpu.stat`. v2 counts `throttled_usec`, v1 `throttled_time` in nanoseconds. Nothing
/// without `nr_periods`: the root cgroup has none.
#[must_use]
pub fn throttling(stat: &[u8]) -> Option<Throttling> {
    let periods = counter(stat, b"nr_periods")?;
    let throttled_us = match counter(stat, b"throttled_usec") {
        Some(us) => us,
        None => counter(stat, b"throttled_time").unwrap_or(0) / 1000,
    };
    let throttled = counter(stat, b"nr_throttled").unwrap_or(0);
    Some(Throttling { periods, throttled, throttled_us })
}

/// `usage_usec` of a v2 `cpu.stat`: CPU time of the cgroup, µs.
#[must_use]
pub fn usage_us(stat: &[u8]) -> Option<u64> {
    counter(stat, b"usage_usec")
}

/// Memory events of a cgroup since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryEvents {
    /// Times usage hit memory.high (v2).
    pub high: u64,
    /// Times usage hit the hard limit (v2 `max`; v1 memory.failcnt).
    pub max: u64,
    /// Times the cgroup ran out of memory (v2).
    pub oom: u64,
    /// Processes the kernel killed for it.
    pub oom_kill: u64,
}

/// Reads v2 `memory.events`, or v1 `memory.oom_control`, whose `oom_kill` has the same meaning.
#[must_use]
pub fn memory_events(text: &[u8]) -> MemoryEvents {
    let get = |key: &[u8]| counter(text, key).unwrap_or(0);
    MemoryEvents {
        high: get(b"high"),
        max: get(b"max"),
        oom: get(b"oom"),
        oom_kill: get(b"oom_kill"),
    }
}

/// How many CPUs `Cpus_allowed_list` of `/proc/PID/status` names.
#[must_use]
pub fn allowed_cpus(status: &[u8]) -> Option<u32> {
    let line = status.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"Cpus_allowed_list:"))?;
    cpu_list(line)
}

/// How many CPUs a list like `0-3,7` names; nothing if it is not one or names none.
#[must_use]
pub fn cpu_list(text: &[u8]) -> Option<u32> {
    let mut count: u32 = 0;
    for range in trimmed(text)?.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    (count > 0).then_some(count)
}

/// `MemTotal` of `/proc/meminfo`, bytes.
#[must_use]
pub fn machine_memory(meminfo: &[u8]) -> Option<u64> {
    let line = meminfo.split(|b| *b == b'\n').find_map(|l| l.strip_prefix(b"MemTotal:"))?;
    let text = trimmed(line)?;
    let kib: u64 = text.strip_suffix("kB")?.trim_ascii_end().parse().ok()?;
    kib.checked_mul(1024)
}

/// A plain number in a file, such as `memory.current` or `memory.use_hierarchy`.
#[must_use]
pub fn plain(text: &[u8]) -> Option<u64> {
    trimmed(text)?.parse().ok()
}

/// The number behind `key` in a flat-keyed file.
fn counter(text: &[u8], key: &[u8]) -> Option<u64> {
    plain(field(text, key)?)
}

fn field<'a>(text: &'a [u8], key: &[u8]) -> Option<&'a [u8]> {
    text.split(|b| *b == b'\n').find_map(|line| line.strip_prefix(key)?.strip_prefix(b" "))
}

fn bandwidth(quota: Value<u64>, period_us: u64) -> Value<Quota> {
    match quota {
        Value::Limit(_) if period_us == 0 => Value::Unlimited,
        Value::Limit(quota_us) => Value::Limit(Quota { quota_us, period_us }),
        Value::Unlimited => Value::Unlimited,
        Value::Absent => Value::Absent,
        Value::Malformed => Value::Malformed,
    }
}

/// A decimal number; 0 and negative ones mean no limit, one beyond 64 bits makes no sense.
fn integer(text: &str) -> Value<u64> {
    if let Some(digits) = text.strip_prefix('-') {
        let number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        return if number { Value::Unlimited } else { Value::Malformed };
    }
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return Value::Malformed;
    }
    match text.parse::<u64>() {
        Ok(0) => Value::Unlimited,
        Ok(number) => Value::Limit(number),
        Err(_) => Value::Malformed,
    }
}

fn trimmed(text: &[u8]) -> Option<&str> {
    std::str::from_utf8(text).ok().map(str::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_v1_line_wins_and_colons_in_paths_are_kept() {
        let text = b"4:memory:/a:b\n2:cpu,cpuacct:/x\n1:name=cpu:/no\n0::/init.scope\n";
        assert_eq!(membership(text, "memory"), Some((Version::V1, &b"/a:b"[..])));
        assert_eq!(membership(text, "cpu"), Some((Version::V1, &b"/x"[..])));
        assert_eq!(membership(text, "cpuset"), Some((Version::V2, &b"/init.scope"[..])));
        assert_eq!(membership(b"1:name=cpu:/no\n", "cpu"), None);
    }

    #[test]
    fn cpu_max_tells_a_limit_from_none_and_from_garbage() {
        let limit = |quota_us, period_us| Value::Limit(Quota { quota_us, period_us });
        for (text, expected) in [
            ("150000 100000\n", limit(3, 2)),
            ("150000", limit(3, 2)),
            ("max 100000\n", Value::Unlimited),
            ("max", Value::Unlimited),
            ("0 100000", Value::Unlimited),
            ("-1 100000", Value::Unlimited),
            ("5 0", Value::Unlimited),
            ("5e4 100000", Value::Malformed),
            ("", Value::Malformed),
            ("1 2 3", Value::Malformed),
            ("1 x", Value::Malformed),
            ("-", Value::Malformed),
            ("99999999999999999999999 100000", Value::Malformed),
            ("150000 99999999999999999999999", Value::Malformed),
            ("150000 +100000", Value::Malformed),
            ("150000 -1", Value::Unlimited),
            ("150000\t100000\r\n", limit(3, 2)),
        ] {
            assert_eq!(cpu_max(text.as_bytes()), expected, "{text:?}");
        }
        assert_eq!(cpu_max(&[0xff]), Value::Malformed);
    }

    #[test]
    fn v1_quota_and_period_are_read_together() {
        assert_eq!(
            cpu_cfs(b"25000\n", Some(b"50000\n")),
            Value::Limit(Quota { quota_us: 1, period_us: 2 })
        );
        assert_eq!(cpu_cfs(b"-1\n", Some(b"100000\n")), Value::Unlimited);
        assert_eq!(cpu_cfs(b"1000", Some(b"0")), Value::Unlimited);
        assert_eq!(cpu_cfs(b"1000", Some(b"?")), Value::Malformed);
    }

    #[test]
    fn unlimited_memory_is_recognised_with_every_page_size() {
        for text in [
            "max",
            "9223372036854771712",
            "9223372036854710272",
            "4611686018427387904",
            "18446744073709551615",
            "99999999999999999999999",
            "-1",
            "0",
        ] {
            assert_eq!(memory_limit(text.as_bytes()), Value::Unlimited, "{text}");
        }
        assert_eq!(memory_limit(b"1048576\n"), Value::Limit(1 << 20));
        assert_eq!(memory_limit(b"4611686018427387903"), Value::Limit((1 << 62) - 1));
        for text in ["1M\n", "", "1 2", "0x10", "+1"] {
            assert_eq!(memory_limit(text.as_bytes()), Value::Malformed, "{text}");
        }
    }

    #[test]
    fn quotas_round_up_down_and_to_millicores() {
        let quota = |quota_us, period_us| Quota { quota_us, period_us };
        assert_eq!((quota(150, 100).ceil(), quota(150, 100).floor()), (2, 1));
        assert_eq!((quota(1, 100).ceil(), quota(1, 100).floor()), (1, 1));
        assert_eq!(quota(150, 100).millicores(), 1500);
        assert_eq!(quota(u64::MAX, 1).millicores(), u64::MAX);
        assert!(quota(1, 2) < quota(2, 3) && quota(2, 4) == quota(1, 2));
    }

    #[test]
    fn throttling_has_one_shape_for_both_versions() {
        let v2 = b"usage_usec 9\nnr_periods 10\nnr_throttled 4\nthrottled_usec 7000\nnr_bursts 0\n";
        let v1 = b"nr_periods 10\nnr_throttled 4\nthrottled_time 7000000\n";
        let expected = Throttling { periods: 10, throttled: 4, throttled_us: 7000 };
        assert_eq!(throttling(v2), Some(expected));
        assert_eq!(throttling(v1), Some(expected));
        assert_eq!(expected.percent(), Some(40.0));
        assert_eq!(throttling(b"usage_usec 9\n"), None);
    }

    #[test]
    fn oom_kills_are_read_from_either_version() {
        let v2 = b"low 0\nhigh 3\nmax 5\noom 1\noom_kill 1\noom_group_kill 0\n";
        assert_eq!(memory_events(v2), MemoryEvents { high: 3, max: 5, oom: 1, oom_kill: 1 });
        assert_eq!(memory_events(b"oom_kill_disable 0\nunder_oom 0\noom_kill 2\n").oom_kill, 2);
    }

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(cpu_list(b"\t0-3,7\n"), Some(5));
        for text in ["", "3-1", "a", "0-4294967295", "1,"] {
            assert_eq!(cpu_list(text.as_bytes()), None, "{text}");
        }
        assert_eq!(
            allowed_cpus(b"Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n"),
            Some(8)
        );
    }
}
