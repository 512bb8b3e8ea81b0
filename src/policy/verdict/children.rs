//! Rules about child processes: waiting for one to end, or for what it should say.

use super::goroutines::waits;
use super::machine::{BUSY_PERMILLE, goroutines};
use super::place;
use super::threads::{in_init, main_place, stuck};
use super::{Case, Class, Confidence, Finding};
use crate::policy::evidence::{Child, Frame, Goroutine};

/// The children's CPU, in thousandths of one, from which they are at work.
const WORKING: u64 = BUSY_PERMILLE / 3;

/// A child process that does not end.
pub(super) fn subprocess(case: &Case<'_>) -> Option<Finding> {
    let children = case.evidence.children.got().map(Vec::as_slice).unwrap_or_default();
    let child = children.iter().find(|child| child.parent == case.evidence.pid);
    let main = goroutines(case).and_then(|all| all.main.as_ref());
    if let Some(finding) = held_open(case, main) {
        return Some(finding);
    }
    // Children that were looked for and not found are not waited for.
    if child.is_none() && case.evidence.children.got().is_some() {
        return None;
    }
    let waiting = ["wait4", "waitid"];
    let calls = stuck(case).any(|(_, call)| waiting.contains(&call.name.as_str()));
    let waits_in_go = main.is_some_and(|main| {
        main.frames.iter().any(|frame| {
            frame.function.starts_with("os.(*Process).")
                || frame.function.starts_with("os/exec.(*Cmd).")
        })
    });
    if !waits(case) || !(waits_in_go || (calls && goroutines(case).is_none())) {
        return None;
    }
    let place = main_place(case);
    let at = place::at(place.as_deref());
    if let Some(finding) = working(case, place.clone()) {
        return Some(finding);
    }
    let (on, doing) = child.map_or_else(|| ("a child process".to_owned(), String::new()), words);
    let init = in_init(case);
    let (cause, head) = if init { ("init", "package init is stuck: ") } else { ("subprocess", "") };
    // Supervising a child is a job of its own: nothing is ended for that.
    let sure = if init { Confidence::Likely } else { Confidence::Unclear };
    let sentence = format!("{head}it waits{at} for the end of {on}{doing}");
    let finding = Finding::new(Class::Stalled, cause, sure, sentence);
    Some(finding.at(place).on(Some(on)).next("look at that process: it is the one that hangs"))
}

/// The main goroutine reads a pipe whose other end a child has.
pub(super) fn output(case: &Case<'_>, main: &Goroutine, place: Option<String>) -> Option<Finding> {
    if !main.waits_on.as_ref()?.contains("pipe:") {
        return None;
    }
    let children = case.evidence.children.got()?;
    let child = children.iter().find(|child| child.parent == case.evidence.pid)?;
    if let Some(finding) = working(case, place.clone()) {
        return Some(finding);
    }
    let (on, doing) = words(child);
    let at = place::at(place.as_deref());
    let sentence = format!("it waits{at} for the output of {on}{doing}");
    let finding = Finding::new(Class::Stalled, "waiting-for-child", Confidence::Unclear, sentence);
    Some(finding.at(place).on(Some(on)).next("look at that process: it says nothing"))
}

/// os/exec waits for the end of a pipe after the child itself has ended: a descendant of it still
/// has the pipe open (os/exec, `Cmd.Wait`).
fn held_open(case: &Case<'_>, main: Option<&Goroutine>) -> Option<Finding> {
    let main = main.filter(|main| {
        let waits = |frame: &Frame| {
            frame.function == "os/exec.(*Cmd).Wait"
                || frame.function == "os/exec.(*Cmd).awaitGoroutines"
        };
        let parked = main.state.starts_with("chan receive") || main.state.starts_with("select");
        parked && main.frames.iter().any(waits)
    })?;
    let all = goroutines(case)?;
    let copies = |frame: &Frame| frame.function.starts_with("os/exec.(*Cmd).");
    let pipe =
        all.groups.iter().filter(|group| group.created_by.as_ref().is_some_and(copies)).find_map(
            |group| group.waits_on.as_deref()?.split(' ').find(|w| w.starts_with("pipe:")),
        );
    let place = super::place::place(&main.frames);
    let at = place::at(place.as_deref());
    let on = format!("output of a child that has ended, {}", pipe.unwrap_or("a pipe"));
    let sentence = format!(
        "it waits{at} for the output of a command that has ended: a process that the command \
         started still holds the pipe"
    );
    let finding = Finding::new(Class::Stalled, "waiting-for-child", Confidence::Unclear, sentence);
    Some(
        finding
            .at(place)
            .on(Some(on))
            .next("set Cmd.WaitDelay, or let no background process inherit the output"),
    )
}

/// A child that computes is not stuck, and so is not who waits for it.
fn working(case: &Case<'_>, place: Option<String>) -> Option<Finding> {
    let sample_us = case.evidence.sample_ms.saturating_mul(1_000);
    let children = case.evidence.children.got()?;
    let child = children.iter().find(|child| {
        let permille = child.cpu_delta_us.saturating_mul(1_000).checked_div(sample_us);
        permille.is_some_and(|permille| permille >= WORKING)
    })?;
    let (on, _) = words(child);
    let at = place::at(place.as_deref());
    let sentence = format!("{on} works, and it waits for that{at}");
    let finding = Finding::new(Class::Ok, "cpu-bound", Confidence::Likely, sentence);
    Some(finding.at(place).on(Some(on)).next("nothing, unless that process should be done by now"))
}

/// `process 9 (sleep 1000)`, and `, which waits in clock_nanosleep(2)`.
fn words(child: &Child) -> (String, String) {
    let command = child.command.as_ref().unwrap_or(&child.name);
    let doing = &child.doing;
    let doing = if doing.is_empty() { String::new() } else { format!(", which {doing}") };
    (format!("process {} ({command})", child.pid), doing)
}
