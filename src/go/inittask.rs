//! How far package initialisation is: the runtime's own list of tasks, in the order of execution
//! (runtime/proc.go, `doInit1`; Go 1.21 and later). Needs no stack, costs two small reads.

use super::bytes::{index, u32_at, u64_at};
use super::goroutine::Dump;
use super::memory::ReadMemory;
use super::pclntab::Table;

/// Tasks read at most; the largest known program has 2,000 packages with initialisation.
const TASKS: u64 = 20_000;
/// Pending packages named.
const PENDING: usize = 64;

/// Package initialisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Packages that have something to initialise; `main` and the runtime's own among them not.
    pub total: usize,
    /// Packages done.
    pub done: usize,
    /// The package being initialised.
    pub running: Option<String>,
    /// Packages not begun, in order; the first 64.
    pub pending: Vec<String>,
}

impl Progress {
    /// Reads the tasks of the list at `start`.
    #[must_use]
    pub fn read(
        memory: &dyn ReadMemory,
        table: &Table<'_>,
        (start, count): (u64, u64),
    ) -> Option<Self> {
        let mut list = vec![0u8; index(count.min(TASKS)).checked_mul(8)?];
        if !memory.read(start, &mut list) {
            return None;
        }
        let places: Vec<u64> = list.chunks_exact(8).filter_map(|word| u64_at(word, 0)).collect();
        // State, number of functions, address of the first.
        let tasks = super::gather::Gathered::read(memory, &places, 16);
        let mut progress = Self { total: places.len(), ..Self::default() };
        for number in 0..places.len() {
            let task = tasks.get(number)?;
            let name = || {
                let entry = u64_at(task, 8).filter(|_| u32_at(task, 4) != Some(0))?;
                let function = table.function_at(entry)?;
                Some(package(&table.name(function.name)))
            };
            match u32_at(task, 0)? {
                0 if progress.pending.len() < PENDING => progress.pending.extend(name()),
                0 => {}
                1 => progress.running = name().or(progress.running),
                2 => progress.done += 1,
                _ => return None,
            }
        }
        Some(progress)
    }

    /// Whether every package is initialised.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.done == self.total
    }
}

/// The init function that goroutine 1 is in: the one that the runtime's `doInit1` (to 1.20
/// `doInit`) called. `pkg.init` initialises variables, `pkg.init.N` is the N-th `func init`.
#[must_use]
pub fn function(dump: &Dump) -> Option<&str> {
    let main = dump.goroutines.iter().find(|goroutine| goroutine.id == 1)?;
    let mut callee = None;
    for frame in dump.symbols.stack_frames(main.stack) {
        let name = dump.symbols.function(frame);
        if matches!(name, "runtime.doInit1" | "runtime.doInit") {
            return callee;
        }
        callee = Some(name);
    }
    None
}

/// The package of a function: cut at the first dot behind the last slash.
fn package(function: &str) -> String {
    let slash = function.rfind('/').map_or(0, |at| at + 1);
    let rest = function.get(slash..).unwrap_or("");
    let dot = rest.find('.').map_or(function.len(), |at| slash + at);
    function.get(..dot).unwrap_or(function).replace("%2e", ".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_cut_out_of_function_names() {
        let check = |function, expected: &str| assert_eq!(package(function), expected);
        check("main.init.0", "main");
        check("golang.org/x/net/http2.init", "golang.org/x/net/http2");
        check("example.com/app/db%2ev2.map.init.0", "example.com/app/db.v2");
        check("odd", "odd");
    }
}
