//! A verdict in the log's words and in the termination message.

use super::{Class, Confidence, Verdict};
use crate::policy::history::History;
use crate::policy::record::{Origin, Record, Severity, Value, shorten};
use crate::policy::watchdog::Stall;
use crate::units::Pid;
use std::time::Duration;

/// A length of time for a person: whole seconds from ten seconds on.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 10 {
        humantime::format_duration(Duration::from_secs(seconds)).to_string().replace(' ', "")
    } else {
        format!("{:.1}s", time.as_secs_f64())
    }
}

/// ` for 3.2s`; nothing where no time is known, as in a dump alone.
pub(super) fn lasting(time: Duration) -> String {
    if time.is_zero() { String::new() } else { format!(" for {}", span(time)) }
}

impl Verdict {
    /// The `goinit.verdict` record.
    #[must_use]
    pub fn record(&self) -> Record {
        let severity = match self.class {
            Class::Ok => Severity::Info,
            Class::Slow | Class::Stopped => Severity::Warn,
            Class::Stalled if self.confidence == Confidence::Unclear => Severity::Warn,
            Class::Stalled | Class::Crashed | Class::Killed => Severity::Error,
        };
        Record::new(severity, "goinit.verdict", Origin::Goinit, self.sentence.clone())
            .put("verdict.class", self.class.word())
            .put("verdict.cause", self.cause)
            .put("verdict.confidence", self.confidence.word())
            .put_some("verdict.where", self.place.clone())
            .put_some("verdict.on", self.on.clone())
            .put("verdict.since_ms", self.since)
            .put("verdict.next", self.next)
    }
}

impl Verdict {
    /// The verdict as one JSON object, for `--on-stall-exec`.
    #[must_use]
    pub fn object(&self, pid: Pid) -> String {
        let mut members: Vec<(&'static str, Value)> = vec![
            ("pid", Value::Int(i64::from(pid.0))),
            ("class", self.class.word().into()),
            ("cause", self.cause.into()),
            ("confidence", self.confidence.word().into()),
            ("message", self.sentence.clone().into()),
            ("since_ms", self.since.into()),
            ("next", self.next.into()),
        ];
        members.extend(self.place.clone().map(|place| ("where", place.into())));
        members.extend(self.on.clone().map(|on| ("on", on.into())));
        crate::policy::record::object(&members)
    }
}

/// The `goinit.stall` record.
#[must_use]
pub fn stall(stall: &Stall, history: &History, pid: Pid) -> Record {
    let message = format!(
        "no progress for {}: {}",
        span(stall.lasted),
        match &history.snapshot {
            Some(snapshot) => format!(
                "{}/{} Ps idle, {} threads, run queue {}",
                snapshot.idleprocs, snapshot.gomaxprocs, snapshot.threads, snapshot.runqueue
            ),
            None => "no heartbeat".to_owned(),
        }
    );
    let mut record = Record::new(Severity::Warn, "goinit.stall", Origin::Goinit, message)
        .put("stall.kind", stall.kind.word())
        .put("stall.for_ms", stall.lasted)
        .put("stall.threshold_ms", stall.threshold)
        .put("stall.report", stall.report)
        .put("stall.beats", stall.beats);
    if let Some(snapshot) = &history.snapshot {
        record = record
            .put("sched.uptime_ms", snapshot.uptime_ms)
            .put("sched.gomaxprocs", snapshot.gomaxprocs)
            .put("sched.idleprocs", snapshot.idleprocs)
            .put("sched.threads", snapshot.threads)
            .put("sched.idlethreads", snapshot.idlethreads)
            .put("sched.runqueue", snapshot.runqueue)
            .put("sched.runq_local_sum", snapshot.local.iter().map(|n| u64::from(*n)).sum::<u64>());
    }
    record.put("process.pid", Value::Int(i64::from(pid.0)))
}

/// The `goinit.recover` record.
#[must_use]
pub fn recovered(stall: &Stall) -> Record {
    let message = format!("progress again after {}", span(stall.lasted));
    Record::new(Severity::Info, "goinit.recover", Origin::Goinit, message)
        .put("stall.kind", stall.kind.word())
        .put("stall.for_ms", stall.lasted)
}

/// The termination message: the sentence, a JSON object, up to three lines of evidence; essentials
/// first, since Kubernetes cuts at the end.
#[must_use]
pub fn message(
    sentence: &str,
    end: &[(&'static str, Value)],
    evidence: &[String],
    limit: usize,
) -> String {
    let mut text = sentence.to_owned();
    text.push('\n');
    text.push_str(&crate::policy::record::object(end));
    for line in evidence.iter().take(3) {
        text.push('\n');
        text.push_str(line);
    }
    text.push('\n');
    shorten(&mut text, limit);
    text
}
