//! The program's control group: two looks at limits, throttling, memory and pressure.

use super::proc::{Program, SMALL};
use crate::host::cgroup as host;
use crate::linux::cgroup::{self as text, Version};
use crate::linux::psi;
use crate::policy::evidence::{Cgroup, CpuStat, MemoryEvents, Pressure, Why};
use std::path::Path;

/// The group, found once, with its counters open.
#[derive(Debug)]
pub(super) struct Group {
    facts: Cgroup,
    cpu: Option<(Version, String)>,
    memory: Option<(Version, String)>,
    counters: host::Counters,
    first: Look,
}

/// The counters at one moment.
#[derive(Clone, Debug, Default)]
struct Look {
    cpu: CpuStat,
    events: MemoryEvents,
    pressure: [Option<psi::Pressure>; 3],
}

impl Group {
    /// Finds the program's group and takes the first look.
    pub(super) fn find(program: &Program) -> Result<Self, Why> {
        let (limits, places) =
            host::read(program.root(), Some(program.pid), host::Depth::Everything);
        let place = |place: &Option<(Version, Vec<u8>)>| {
            let (version, path) = place.as_ref()?;
            Some((*version, String::from_utf8_lossy(path).into_owned()))
        };
        let (cpu, memory) = (place(&places.cpu), place(&places.memory));
        let Some((version, _)) = cpu.as_ref().or(memory.as_ref()) else {
            return Err(match program.read("cgroup", SMALL) {
                Err(why) => why,
                Ok(_) => Why::Unsupported("no cgroup file system is mounted".to_owned()),
            });
        };
        let quota = limits.cpu.limit.as_ref().map(|bound| bound.value);
        let facts = Cgroup {
            version: u64::from(version.number()),
            quota_us: quota.map(|quota| quota.quota_us),
            period_us: quota.map(|quota| quota.period_us),
            memory_max: limits.memory.limit.as_ref().map(|bound| bound.value),
            memory_high: limits.memory_high.as_ref().map(|bound| bound.value),
            ..Cgroup::default()
        };
        let counters = host::Counters::open(program.root(), &places);
        let mut group = Self { facts, cpu, memory, counters, first: Look::default() };
        group.first = group.look(program);
        Ok(group)
    }

    fn look(&self, program: &Program) -> Look {
        let events = self.counters.memory().events.unwrap_or_default();
        Look {
            cpu: self.cpu_stat(program),
            events: MemoryEvents {
                high: events.high,
                max: events.max,
                oom: events.oom,
                oom_kill: events.oom_kill,
            },
            pressure: ["cpu", "memory", "io"].map(|resource| {
                let (_, path) = self
                    .cpu
                    .as_ref()
                    .or(self.memory.as_ref())
                    .filter(|(v, _)| *v == Version::V2)?;
                let bytes = program.read_at(&format!("{path}/{resource}.pressure"), SMALL).ok()?;
                psi::Pressure::parse(&bytes)
            }),
        }
    }

    fn cpu_stat(&self, program: &Program) -> CpuStat {
        let Some((_, path)) = &self.cpu else { return CpuStat::default() };
        let bytes = program.read_at(&format!("{path}/cpu.stat"), SMALL).unwrap_or_default();
        let throttling = text::throttling(&bytes).unwrap_or_default();
        CpuStat {
            nr_periods: throttling.periods,
            nr_throttled: throttling.throttled,
            throttled_usec: throttling.throttled_us,
            usage_usec: text::usage_us(&bytes).unwrap_or(0),
        }
    }

    /// The facts now, with what changed since the first look.
    pub(super) fn describe(&self, program: &Program) -> Cgroup {
        let now = self.look(program);
        let first = &self.first;
        let memory = self.counters.memory();
        let pressure = |at: usize| {
            let now = now.pressure.get(at).copied().flatten()?;
            let then = first.pressure.get(at).copied().flatten().unwrap_or(now);
            Some(Pressure {
                some_avg10: now.some.avg10,
                full_avg10: now.full.map(|full| full.avg10),
                some_total_us: now.some.total_us,
                some_delta_us: now.some.total_us.saturating_sub(then.some.total_us),
            })
        };
        let inactive = self.read(&self.memory, program, "memory.stat");
        let inactive = inactive.as_deref().and_then(|text| {
            named(text, "total_inactive_file").or_else(|| named(text, "inactive_file"))
        });
        Cgroup {
            cpu_delta: cpu_grown(&now.cpu, &first.cpu),
            cpu: now.cpu.clone(),
            memory_current: memory.usage,
            memory_peak: memory.peak,
            memory_inactive_file: inactive,
            memory_events_delta: events_grown(&now.events, &first.events),
            memory_events: now.events.clone(),
            frozen: self.frozen(program),
            pids_current: self.number(program, "pids.current"),
            pids_max: self.number(program, "pids.max"),
            pressure_cpu: pressure(0),
            pressure_memory: pressure(1),
            pressure_io: pressure(2),
            ..self.facts.clone()
        }
    }

    /// Bytes that could still be used without a kill; absent without a limit.
    pub(super) fn headroom(&self) -> Option<u64> {
        Some(self.facts.memory_max?.saturating_sub(self.counters.memory().usage?))
    }

    fn read(
        &self,
        place: &Option<(Version, String)>,
        program: &Program,
        name: &str,
    ) -> Option<Vec<u8>> {
        let (_, directory) = place.as_ref()?;
        let path = Path::new(directory).join(name);
        program.read_at(path.to_str()?, SMALL).ok()
    }

    /// v2 only: v1 has the freezer and the pids controller in hierarchies of their own.
    fn number(&self, program: &Program, name: &str) -> Option<u64> {
        text::plain(&self.read(&self.unified(), program, name)?)
    }

    fn frozen(&self, program: &Program) -> Option<bool> {
        let events = self.read(&self.unified(), program, "cgroup.events")?;
        Some(named(&events, "frozen")? != 0)
    }

    fn unified(&self) -> Option<(Version, String)> {
        self.cpu.clone().or_else(|| self.memory.clone()).filter(|(v, _)| *v == Version::V2)
    }
}

/// A line `key number`.
fn named(text: &[u8], key: &str) -> Option<u64> {
    text.split(|b| *b == b'\n').find_map(|line| {
        let rest = line.strip_prefix(key.as_bytes())?.strip_prefix(b" ")?;
        std::str::from_utf8(rest).ok()?.trim().parse().ok()
    })
}

const fn cpu_grown(now: &CpuStat, then: &CpuStat) -> CpuStat {
    CpuStat {
        nr_periods: now.nr_periods.saturating_sub(then.nr_periods),
        nr_throttled: now.nr_throttled.saturating_sub(then.nr_throttled),
        throttled_usec: now.throttled_usec.saturating_sub(then.throttled_usec),
        usage_usec: now.usage_usec.saturating_sub(then.usage_usec),
    }
}

const fn events_grown(now: &MemoryEvents, then: &MemoryEvents) -> MemoryEvents {
    MemoryEvents {
        high: now.high.saturating_sub(then.high),
        max: now.max.saturating_sub(then.max),
        oom: now.oom.saturating_sub(then.oom),
        oom_kill: now.oom_kill.saturating_sub(then.oom_kill),
    }
}
