//! A limit that changes while the program runs, as the in-place resize of a pod does: what the
//! program will do about it, and what a restart would change.
//!
//! A Go runtime from 1.25 on follows the quota of its own cgroup (and its CPUs) about once a
//! second, unless GOMAXPROCS is set; measured with cpu.max going from 3 to 5: unset 3 to 5, set
//! stays 3. GOMEMLIMIT is read once.

use super::limits::{Bound, Limits};
use super::record::{Origin, Record, Severity};
use super::settings::{self, Options, Runtime, Settings, bytes_text, cpu_text};
use crate::go::buildinfo::BuildInfo;
use crate::linux::cgroup::Quota;

/// The variables of the environment that decide.
pub const VARIABLES: [&str; 3] = ["GOMAXPROCS", "GOMEMLIMIT", "GODEBUG"];

/// What has to be kept of the start in order to judge a change.
#[derive(Clone, Debug, Default)]
pub struct Resize {
    /// The limits that were last told.
    pub limits: Limits,
    /// What was set at the start.
    pub settings: Settings,
    /// What is known of the program's runtime.
    pub build: Option<BuildInfo>,
    /// What the user had set of [`VARIABLES`].
    pub user: Vec<(&'static str, String)>,
    /// What goinit was asked to set.
    pub options: Options,
}

/// What the program does about another CPU limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// It takes it over by itself.
    Follows,
    /// GOMAXPROCS is set, and stays.
    Frozen,
    /// It looks at no limit.
    Ignores,
}

impl Reaction {
    fn word(self) -> &'static str {
        match self {
            Self::Follows => "follows",
            Self::Frozen => "frozen",
            Self::Ignores => "ignores",
        }
    }
}

impl Resize {
    /// Takes the limits as they are now. The `goinit.limits` record, if they are others.
    pub fn changed(&mut self, now: Limits) -> Option<Record> {
        if !now.differs(&self.limits) {
            return None;
        }
        let before = std::mem::replace(&mut self.limits, now);
        let user = |name: &str| {
            self.user.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        };
        let runtime = Runtime::of(self.build.as_ref());
        let renewed = settings::decide(&self.limits, runtime, user, &self.options);
        let mut parts = Vec::new();
        parts.extend(self.cpu(&before, &renewed));
        parts.extend(self.memory(&before, &renewed));
        let severity = if self.exceeds() && !exceeds(&before, self.in_effect()) {
            Severity::Warn
        } else {
            Severity::Info
        };
        let record = Record::new(severity, "goinit.limits", Origin::Goinit, parts.join("; "));
        Some(self.fields(record, &before, &renewed))
    }

    fn reaction(&self) -> Reaction {
        let user = self
            .user
            .iter()
            .any(|(name, value)| *name == "GOMAXPROCS" && settings::go_procs(value).is_some());
        if user || self.settings.get("GOMAXPROCS").is_some() {
            return Reaction::Frozen;
        }
        let quota = self.limits.cpu.limit.as_ref().map(|limit| limit.value);
        let release = self.build.as_ref().and_then(BuildInfo::release);
        // A runtime that looks at the wrong file does not see the new limit either.
        let sees = release.is_some_and(|release| self.limits.go.of(release) == quota);
        if self.settings.follows_cpu && sees { Reaction::Follows } else { Reaction::Ignores }
    }

    /// GOMAXPROCS from now on, as far as that can be told.
    fn procs(&self) -> Option<u64> {
        match self.reaction() {
            Reaction::Follows => settings::go_rule(&self.limits),
            Reaction::Frozen | Reaction::Ignores => self.settings.expected_procs,
        }
    }

    fn cpu(&self, before: &Limits, renewed: &Settings) -> Option<String> {
        let (old, new) = (&before.cpu.limit, &self.limits.cpu.limit);
        let what = if quota(old) != quota(new) {
            format!("CPU limit {} -> {}", cpu_words(old.as_ref()), cpu_words(new.as_ref()))
        } else if before.affinity != self.limits.affinity {
            let count = |cpus: Option<u32>| cpus.map_or("?".to_owned(), |cpus| cpus.to_string());
            format!("CPUs {} -> {}", count(before.affinity), count(self.limits.affinity))
        } else {
            return None;
        };
        let procs = self.procs().map_or("?".to_owned(), |procs| procs.to_string());
        let restart = renewed.expected_procs.filter(|new| Some(*new) != self.procs());
        let restart = restart
            .map(|procs| format!(" until a restart, which would make it {procs}"))
            .unwrap_or_default();
        Some(match self.reaction() {
            Reaction::Follows => format!("{what}: the program follows, GOMAXPROCS becomes {procs}"),
            Reaction::Frozen => format!("{what}: GOMAXPROCS is set and stays {procs}{restart}"),
            Reaction::Ignores => {
                format!(
                    "{what}: the program does not look at it, GOMAXPROCS stays {procs}{restart}"
                )
            }
        })
    }

    fn memory(&self, before: &Limits, renewed: &Settings) -> Option<String> {
        let pairs = [
            ("memory limit", bytes(&before.memory.limit), bytes(&self.limits.memory.limit)),
            ("memory.high", bytes(&before.memory_high), bytes(&self.limits.memory_high)),
        ];
        let words = |value: Option<u64>| value.map_or_else(|| "none".to_owned(), bytes_text);
        let what: Vec<_> = pairs
            .iter()
            .filter(|(_, old, new)| old != new)
            .map(|(name, old, new)| format!("{name} {} -> {}", words(*old), words(*new)))
            .collect();
        if what.is_empty() {
            return None;
        }
        let what = what.join(", ");
        let own = self.in_effect();
        let next = effective(renewed, &self.user);
        let stays = match own {
            Some(own) => format!("GOMEMLIMIT stays {}", bytes_text(own)),
            None => "GOMEMLIMIT stays unset".to_owned(),
        };
        let restart = match next.filter(|next| own != Some(*next)) {
            Some(next) => format!(" until a restart, which would make it {}", bytes_text(next)),
            None => String::new(),
        };
        let danger = if self.exceeds() {
            ", above the new limit: the kernel may kill the program"
        } else {
            ""
        };
        Some(format!("{what}: {stays}{danger}{restart}"))
    }

    /// GOMEMLIMIT that the program was started with, bytes.
    fn in_effect(&self) -> Option<u64> {
        effective(&self.settings, &self.user)
    }

    fn exceeds(&self) -> bool {
        exceeds(&self.limits, self.in_effect())
    }

    fn fields(&self, record: Record, before: &Limits, renewed: &Settings) -> Record {
        let (old, new) = (&before.cpu.limit, &self.limits.cpu.limit);
        let moved = |a: Option<u64>, b: Option<u64>| if a == b { None } else { a };
        let cpu = quota(old) != quota(new) || before.affinity != self.limits.affinity;
        record
            .put_some("cgroup.cpu.quota_us", quota(new).map(|quota| quota.quota_us))
            .put_some("cgroup.cpu.period_us", quota(new).map(|quota| quota.period_us))
            .put_some("cgroup.cpu.source", new.as_ref().map(|limit| limit.file.clone()))
            .put_some(
                "cgroup.cpu.before_quota_us",
                quota(old).filter(|_| quota(old) != quota(new)).map(|quota| quota.quota_us),
            )
            .put_some("cgroup.affinity", self.limits.affinity)
            .put_some("cgroup.memory.max", bytes(&self.limits.memory.limit))
            .put_some(
                "cgroup.memory.source",
                self.limits.memory.limit.as_ref().map(|limit| limit.file.clone()),
            )
            .put_some(
                "cgroup.memory.before_max",
                moved(bytes(&before.memory.limit), bytes(&self.limits.memory.limit)),
            )
            .put_some("cgroup.memory.high", bytes(&self.limits.memory_high))
            .put_some("go.processor.reaction", cpu.then(|| self.reaction().word()))
            .put_some("go.processor.limit", self.procs())
            .put_some("go.processor.at_restart", renewed.expected_procs)
            .put_some("go.memory.limit", self.in_effect())
            .put_some("go.memory.at_restart", effective(renewed, &self.user))
    }
}

fn quota(limit: &Option<Bound<Quota>>) -> Option<Quota> {
    limit.as_ref().map(|limit| limit.value)
}

fn bytes(limit: &Option<Bound<u64>>) -> Option<u64> {
    limit.as_ref().map(|limit| limit.value)
}

fn cpu_words(limit: Option<&Bound<Quota>>) -> String {
    limit.map_or_else(|| "none".to_owned(), |limit| cpu_text(limit.value.cpus()))
}

/// GOMEMLIMIT of a program: the user's, or the one that was set.
fn effective(settings: &Settings, user: &[(&'static str, String)]) -> Option<u64> {
    let own = user.iter().find(|(name, _)| *name == "GOMEMLIMIT");
    own.and_then(|(_, value)| settings::memory_limit(value))
        .or_else(|| settings.get("GOMEMLIMIT").and_then(|text| text.parse().ok()))
}

fn exceeds(limits: &Limits, own: Option<u64>) -> bool {
    bytes(&limits.memory.limit).is_some_and(|hard| own.is_some_and(|own| own > hard))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::linux::cgroup::Value;
    use crate::policy::limits::GoView;

    fn limits(cpus: u64, mib: u64) -> Limits {
        let mut limits =
            Limits { affinity: Some(8), machine_memory: Some(8 << 30), ..Limits::default() };
        if cpus > 0 {
            let quota = Quota { quota_us: cpus * 100_000, period_us: 100_000 };
            limits.add_cpu(0, "/cpu.max", b"", Value::Limit(quota));
            limits.go = GoView { go25: Some(quota), go26: Some(quota) };
        }
        if mib > 0 {
            limits.add_memory(0, "/memory.max", b"", Value::Limit(mib << 20));
        }
        limits
    }

    fn build(version: &str, old_line: bool) -> BuildInfo {
        let mut info = BuildInfo { version: version.to_owned(), ..BuildInfo::default() };
        if old_line {
            let off = "containermaxprocs=0,updatemaxprocs=0".to_owned();
            info.settings.push(("DefaultGODEBUG".to_owned(), off));
        }
        info
    }

    /// The record of a change.
    fn check(
        build: Option<BuildInfo>,
        user: &[(&'static str, &str)],
        from: Limits,
        to: Limits,
        words: &[&str],
    ) -> Record {
        let options = Options::default();
        let user: Vec<_> = user.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        let look = |name: &str| {
            user.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone())
        };
        let settings = settings::decide(&from, Runtime::of(build.as_ref()), look, &options);
        let mut resize = Resize { limits: from, settings, build, user, options };
        let record = resize.changed(to.clone()).unwrap();
        assert!(resize.changed(to).is_none(), "it is told once");
        for word in words {
            assert!(record.message().contains(word), "no {word:?} in {}", record.message());
        }
        record
    }

    #[test]
    fn an_aware_runtime_follows_and_an_old_one_is_frozen() {
        for info in [build("go1.27.3", false), build("go1.25.5", false), build("go1.27.3", true)] {
            let words = ["CPU limit 3 -> 5", "follows, GOMAXPROCS becomes 5"];
            let record = check(Some(info), &[], limits(3, 0), limits(5, 0), &words);
            assert_eq!(record.get("go.processor.reaction").unwrap(), &"follows".into());
        }
        let words = ["3 -> 5: GOMAXPROCS is set and stays 3", "restart", "make it 5"];
        check(Some(build("go1.24.11", false)), &[], limits(3, 0), limits(5, 0), &words);
        let aware = || Some(build("go1.27.3", false));
        let words = ["stays 2"];
        check(aware(), &[("GOMAXPROCS", "2")], limits(3, 0), limits(5, 0), &words);
        check(aware(), &[], limits(3, 0), limits(0, 0), &["3 -> none", "becomes 8"]);
    }

    #[test]
    fn without_a_limit_at_the_start_an_old_runtime_sees_none_later() {
        let words = ["none -> 2", "does not look at it", "stays 8", "make it 2"];
        check(Some(build("go1.24.11", false)), &[], limits(0, 0), limits(2, 0), &words);
        check(Some(build("go1.27.3", true)), &[], limits(0, 0), limits(2, 0), &words);
        check(None, &[], limits(0, 0), limits(2, 0), &words);
    }

    #[test]
    fn a_limit_that_moves_to_an_ancestor_is_not_followed() {
        let mut above = limits(5, 0);
        above.go = GoView::default();
        check(Some(build("go1.27.3", false)), &[], limits(3, 0), above, &["does not look at it"]);
    }

    #[test]
    fn memory_stays_and_a_limit_below_it_is_a_warning() {
        let words = ["memory limit 256 MiB -> 512 MiB", "stays 230.4 MiB", "make it 460.8 MiB"];
        let record = check(None, &[], limits(0, 256), limits(0, 512), &words);
        assert_eq!(record.severity(), Severity::Info);
        let words = ["256 MiB -> 128 MiB", "above the new limit"];
        let record = check(None, &[], limits(0, 256), limits(0, 128), &words);
        assert_eq!(record.severity(), Severity::Warn);
        let words = ["stays 64 MiB"];
        check(None, &[("GOMEMLIMIT", "64MiB")], limits(0, 256), limits(0, 128), &words);
        check(None, &[], limits(0, 0), limits(0, 128), &["none -> 128 MiB", "stays unset"]);
    }

    #[test]
    fn both_at_once_and_cpus_alone() {
        let words = ["CPU limit 1 -> 2", "; memory limit 256 MiB -> 512 MiB"];
        check(None, &[], limits(1, 256), limits(2, 512), &words);
        let mut fewer = limits(0, 0);
        fewer.affinity = Some(2);
        let words = ["CPUs 8 -> 2", "becomes 2"];
        check(Some(build("go1.27.3", false)), &[], limits(0, 0), fewer, &words);
    }
}
