//! How often the kernel killed somebody in our memory cgroup since the start.

use super::cgroup::Counters;

/// Counts OOM kills.
#[derive(Debug, Default)]
pub struct OomWatch {
    counters: Option<Counters>,
    before: u64,
}

impl OomWatch {
    /// Remembers how many there were before the start.
    #[must_use]
    pub fn new(counters: Counters) -> Self {
        let before = kills(&counters).unwrap_or(0);
        Self { counters: Some(counters), before }
    }

    /// OOM kills since the start, if the cgroup tells.
    #[must_use]
    pub fn since_start(&self) -> Option<u64> {
        Some(kills(self.counters.as_ref()?)?.saturating_sub(self.before))
    }
}

fn kills(counters: &Counters) -> Option<u64> {
    counters.memory().events.map(|events| events.oom_kill)
}
