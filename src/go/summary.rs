//! All goroutines in a few lines: what the evidence of a hang carries and a verdict judges.

use super::goroutine::{Channel, Dump, Goroutine, LockKind, Status, Wait};
use super::inittask::Progress;
use super::print::{hidden_frame, wait_text};
use super::unwind::End;
use std::collections::HashMap;

/// Groups kept for evidence; goroutines of others are only counted.
pub const GROUPS: usize = 50;
/// Frames kept per group.
const FRAMES: usize = 32;
/// Numbers kept per group.
const IDS: usize = 8;

/// One frame, as text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FrameText {
    /// Function as the runtime prints it.
    pub function: String,
    /// Source file as the compiler recorded it.
    pub file: String,
    /// Line in it.
    pub line: u32,
}

/// Goroutines of equal state and stack.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// State or wait reason.
    pub state: String,
    /// User frames, innermost first; all frames if there are no user frames.
    pub frames: Vec<FrameText>,
    /// Outer frames that were left out.
    pub frames_left_out: usize,
    /// The `go` statement that started them.
    pub created_by: Option<FrameText>,
    /// How many there are.
    pub count: usize,
    /// The first numbers.
    pub ids: Vec<u64>,
    /// Longest known wait, whole minutes.
    pub minutes: u64,
    /// Longest known wait, nanoseconds.
    pub waited: Option<u64>,
    /// How many did not move between two looks; absent when there was one look.
    pub still: Option<usize>,
    /// What the first of them waits for.
    pub waits_for: Vec<String>,
    /// Channels among that.
    pub channels: Vec<ChannelText>,
    /// The runtime's own goroutines.
    pub system: bool,
}

/// A channel that is waited for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelText {
    /// Its address.
    pub address: u64,
    /// The type of its elements, if it could be read.
    pub element: Option<String>,
    /// What is in it, if that could be read.
    pub state: Option<Channel>,
}

/// All goroutines.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Go version as the program states it.
    pub version: String,
    /// Goroutines read.
    pub total: usize,
    /// Goroutines of the user among them.
    pub users: usize,
    /// Groups: the main goroutine's first, then by size; user groups before system groups.
    pub groups: Vec<Group>,
    /// Goroutines in groups that were left out.
    pub left_out: usize,
    /// The main goroutine's group, if it lives.
    pub main: Option<usize>,
    /// Package initialisation.
    pub init: Option<Progress>,
    /// The init function that the main goroutine is in.
    pub init_function: Option<String>,
    /// A user goroutine is runnable.
    pub runnable: bool,
    /// A user goroutine is on a CPU.
    pub running: bool,
    /// A user goroutine is in a system call or in C.
    pub in_syscall: bool,
    /// A user goroutine waits for a descriptor.
    pub io_wait: bool,
    /// A user goroutine sleeps, so time will wake it.
    pub timer: bool,
    /// A user goroutine is in C.
    pub in_cgo: bool,
    /// Rings of goroutines that probably wait for one another.
    pub lock_cycles: Vec<Vec<u64>>,
    /// A user goroutine waits for a mutex.
    pub lock_wait: bool,
    /// Stacks that ended early or moved while they were read.
    pub doubtful: usize,
}

impl Summary {
    /// Groups the goroutines of `dump`, and keeps the first `limit` groups; `now` is
    /// CLOCK_MONOTONIC in nanoseconds.
    #[must_use]
    pub fn of(dump: &Dump, now: u64, limit: usize) -> Self {
        Self::of_some(dump, &dump.goroutines, now, limit)
    }

    /// The same for some goroutines of `dump`.
    #[must_use]
    pub fn of_some<'d>(
        dump: &'d Dump,
        some: impl IntoIterator<Item = &'d Goroutine>,
        now: u64,
        limit: usize,
    ) -> Self {
        let mut groups: Vec<(&Goroutine, Vec<&Goroutine>)> = Vec::new();
        let mut numbers: HashMap<(u32, Status, u8, bool), usize> = HashMap::new();
        let mut summary = Self {
            version: dump.version.clone(),
            init: dump.init.clone(),
            init_function: super::inittask::function(dump).map(str::to_owned),
            lock_cycles: dump.cycles.clone(),
            ..Self::default()
        };
        for goroutine in some {
            summary.total += 1;
            summary.count(dump, goroutine);
            let first = goroutine.id == 1;
            let key = (goroutine.stack, goroutine.status, goroutine.reason, first);
            let number = *numbers.entry(key).or_insert_with(|| {
                groups.push((goroutine, Vec::new()));
                groups.len() - 1
            });
            if let Some((_, members)) = groups.get_mut(number) {
                members.push(goroutine);
            }
        }
        groups.sort_by_key(|(first, members)| {
            (first.id != 1, first.system, std::cmp::Reverse(members.len()), first.id)
        });
        summary.main = groups.first().filter(|(first, _)| first.id == 1).map(|_| 0);
        let rest = groups.get(limit..).unwrap_or(&[]);
        summary.left_out = rest.iter().map(|(_, members)| members.len()).sum();
        summary.groups = groups
            .iter()
            .take(limit)
            .map(|(first, members)| group(dump, first, members, now))
            .collect();
        summary
    }

    fn count(&mut self, dump: &Dump, goroutine: &Goroutine) {
        let stack = dump.symbols.stack(goroutine.stack);
        let cut = stack.is_some_and(|stack| stack.end != End::Complete);
        if goroutine.unstable || cut {
            self.doubtful += 1;
        }
        if goroutine.system {
            return;
        }
        self.users += 1;
        match goroutine.status {
            Status::RUNNABLE => self.runnable = true,
            Status::RUNNING => self.running = true,
            Status::SYSCALL => {
                self.in_syscall = true;
                let mut frames = dump.symbols.stack_frames(goroutine.stack).take(3);
                let cgo = |frame| dump.symbols.function(frame) == "runtime.cgocall";
                self.in_cgo |= frames.any(cgo);
            }
            _ => {}
        }
        self.timer |= dump.state(goroutine) == "sleep";
        self.io_wait |= dump.state(goroutine) == "IO wait";
        let mutex =
            |wait: &Wait| matches!(wait, Wait::Lock(kind, _) if *kind != LockKind::WaitGroup);
        self.lock_wait |= goroutine.waits.iter().any(mutex);
    }
}

fn group(dump: &Dump, first: &Goroutine, members: &[&Goroutine], now: u64) -> Group {
    let text = |frame: &super::symbol::Frame| FrameText {
        function: super::print::function_text(dump.symbols.function(frame)).to_owned(),
        file: dump.symbols.texts.get(frame.file).to_owned(),
        line: frame.line,
    };
    let mut callee = "";
    let mut frames = Vec::new();
    let mut left_out = 0;
    for (number, frame) in dump.symbols.stack_frames(first.stack).enumerate() {
        if !hidden_frame(dump.symbols.function(frame), frame.wrapper, callee, number == 0) {
            if frames.len() < FRAMES { frames.push(text(frame)) } else { left_out += 1 }
        }
        callee = dump.symbols.function(frame);
    }
    if frames.is_empty() {
        frames = dump.symbols.stack_frames(first.stack).take(FRAMES).map(text).collect();
    }
    let created = first.created_by.and_then(|site| dump.symbols.frames(site).first());
    Group {
        state: dump.state(first).to_owned(),
        frames,
        created_by: created.map(text),
        count: members.len(),
        ids: members.iter().take(IDS).map(|goroutine| goroutine.id).collect(),
        frames_left_out: left_out,
        waited: members.iter().filter_map(|it| dump.waited(it, now)).max(),
        still: (dump.sampled > 0)
            .then(|| members.iter().filter(|it| it.moved == Some(false)).count()),
        minutes: members.iter().map(|it| dump.minutes(it, now)).max().unwrap_or(0),
        waits_for: first.waits.iter().take(IDS).map(|wait| wait_text(dump, *wait, now)).collect(),
        channels: first.waits.iter().filter_map(|wait| channel(dump, *wait)).take(IDS).collect(),
        system: first.system,
    }
}

fn channel(dump: &Dump, wait: Wait) -> Option<ChannelText> {
    let Wait::Channel(address) = wait else { return None };
    let element = dump.elements.get(&address).cloned();
    Some(ChannelText { address, element, state: dump.channels.get(&address).copied() })
}
