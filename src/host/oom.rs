//! How often the kernel killed somebody in our memory cgroup since the start.

use super::cgroup::{Places, oom_kills};
use super::files::Root;

/// Counts OOM kills. It keeps no descriptor: goinit may have to live with ten of them.
#[derive(Debug, Default)]
pub struct OomWatch {
    root: Root,
    places: Places,
    before: u64,
}

impl OomWatch {
    /// Remembers how many there were before the start.
    #[must_use]
    pub fn new(root: &Root, places: &Places) -> Self {
        let before = oom_kills(root, places).unwrap_or(0);
        Self { root: root.clone(), places: places.clone(), before }
    }

    /// OOM kills since the start, if the cgroup tells.
    #[must_use]
    pub fn since_start(&self) -> Option<u64> {
        Some(oom_kills(&self.root, &self.places)?.saturating_sub(self.before))
    }
}
