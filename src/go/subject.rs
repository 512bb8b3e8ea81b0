//! One channel, one lock, or what one goroutine waits for: who waits for it too, and who has it
//! on the stack, so probably holds it or will use it.

use super::goroutine::{Dump, Goroutine};
use super::print::wait_text;
use std::collections::BTreeSet;
use std::fmt::Write;

/// Numbers named in one line.
const NAMED: usize = 16;

/// What is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The channel or lock at this address.
    Address(u64),
    /// What the goroutine with this number waits for.
    Goroutine(u64),
}

impl Subject {
    /// Reads `0xc000012345`, `18` or `goroutine 18`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(hex) = text.strip_prefix("0x") {
            return u64::from_str_radix(hex, 16).ok().map(Self::Address);
        }
        let number = text.strip_prefix("goroutine").unwrap_or(text);
        number.trim().parse().ok().map(Self::Goroutine)
    }

    /// The addresses it means in `dump`; none when the goroutine waits for neither.
    #[must_use]
    pub fn addresses(self, dump: &Dump) -> Vec<u64> {
        match self {
            Self::Address(at) => vec![at],
            Self::Goroutine(id) => {
                let of = dump.goroutines.iter().find(|goroutine| goroutine.id == id);
                let waits = of.map_or(&[][..], |goroutine| &goroutine.waits);
                waits.iter().filter_map(super::goroutine::Wait::address).collect()
            }
        }
    }
}

/// The goroutines that have to do with `addresses`: those that have one on the stack first, then
/// those that wait.
#[must_use]
pub fn members<'d>(dump: &'d Dump, addresses: &[u64]) -> Vec<&'d Goroutine> {
    let users: BTreeSet<u64> = addresses.iter().flat_map(|at| dump.holding(*at)).collect();
    let using = dump.goroutines.iter().filter(|goroutine| users.contains(&goroutine.id));
    let waits = |goroutine: &&Goroutine| {
        let mut of = goroutine.waits.iter().filter_map(super::goroutine::Wait::address);
        of.any(|at| addresses.contains(&at)) && !users.contains(&goroutine.id)
    };
    using.chain(dump.goroutines.iter().filter(waits)).collect()
}

/// The answer in lines that begin with `# `.
#[must_use]
pub fn text(dump: &Dump, subject: Subject, addresses: &[u64], now: u64) -> String {
    let mut out = String::new();
    if addresses.is_empty()
        && let Subject::Goroutine(id) = subject
    {
        let _ = match dump.goroutines.iter().find(|goroutine| goroutine.id == id) {
            Some(goroutine) => writeln!(
                out,
                "# goroutine {id} [{}] waits for no channel and no lock",
                dump.state(goroutine)
            ),
            None => writeln!(out, "# there is no goroutine {id}"),
        };
    }
    for at in addresses {
        let waiting: Vec<&Goroutine> = dump.waiting_for(*at).collect();
        let object = waiting
            .first()
            .and_then(|first| first.waits.iter().find(|wait| wait.address() == Some(*at)));
        let what = object.map_or_else(|| format!("{at:#x}"), |it| wait_text(dump, *it, now));
        let _ = match waiting.len() {
            0 => writeln!(out, "# {what}: nobody waits for it"),
            1 => writeln!(out, "# {what}: waited for by goroutine {}", numbers(&waiting)),
            _ => writeln!(out, "# {what}: waited for by goroutines {}", numbers(&waiting)),
        };
        let users: BTreeSet<u64> = dump.holding(*at).collect();
        let using: Vec<&Goroutine> =
            dump.goroutines.iter().filter(|it| users.contains(&it.id)).collect();
        let _ = match using.len() {
            0 => writeln!(out, "#   on nobody else's stack"),
            1 => writeln!(out, "#   on the stack of goroutine {}", numbers(&using)),
            _ => writeln!(out, "#   on the stacks of goroutines {}", numbers(&using)),
        };
    }
    out
}

fn numbers(goroutines: &[&Goroutine]) -> String {
    let shown: Vec<String> = goroutines.iter().take(NAMED).map(|it| it.id.to_string()).collect();
    let more = goroutines.len().saturating_sub(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    shown.join(", ") + &rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_is_an_address_or_a_goroutine() {
        let check = |text, subject| assert_eq!(Subject::parse(text), subject);
        check("0xc000012345", Some(Subject::Address(0xc0_0001_2345)));
        check("18", Some(Subject::Goroutine(18)));
        check("goroutine 18", Some(Subject::Goroutine(18)));
        check("0x", None);
        check("mutex", None);
        check("", None);
    }
}
