//! What did not get through to the log and to the raw copy, and when that is said: the log tells of
//! its own losses as soon as it can be written again, and the last record has the totals.

use super::backlog::{Dropped, SinkReport};
use super::record::{Origin, Record, Severity, Value};

/// How the log and the raw copy stand, and what of that was said.
#[derive(Debug)]
pub(super) struct Losses {
    log: SinkReport,
    /// `--raw FILE`.
    copy: Option<SinkReport>,
    log_said: SinkReport,
    copy_said: u64,
}

impl Losses {
    /// Nothing is lost yet; `copied` tells whether there is a raw copy.
    pub(super) fn new(copied: bool) -> Self {
        // A reader is believed to be there until the log says otherwise.
        let log = SinkReport { room: true, ..SinkReport::default() };
        Self {
            log,
            copy: copied.then(SinkReport::default),
            log_said: SinkReport::default(),
            copy_said: 0,
        }
    }

    /// Whether the log has room for a line.
    pub(super) fn has_room(&self) -> bool {
        self.log.room
    }

    /// Whether nothing of the raw copy is on its way any more.
    pub(super) fn copy_is_settled(&self) -> bool {
        self.copy.is_none_or(|copy| copy.flushed)
    }

    /// The log stands so: what is to be said about it.
    pub(super) fn log(&mut self, report: SinkReport) -> Option<Record> {
        self.log = report;
        let new = report.lost() - self.log_said.lost();
        // Said while it cannot be written, it would be one more that is lost, and be said again.
        if new == 0 || !report.room || report.failing {
            return None;
        }
        let before = std::mem::replace(&mut self.log_said, report);
        let unwritten = report.unwritten.records - before.unwritten.records;
        let less = |of: fn(&Dropped) -> u64| of(&report.dropped) - of(&before.dropped);
        let mut causes = Vec::new();
        if new > unwritten {
            let given_up = new - unwritten;
            causes.push(format!(
                "{given_up} log lines were given up because the log was not read fast enough"
            ));
        }
        if unwritten > 0 {
            let why = words(report.unwritten.errno);
            causes.push(format!("{unwritten} log lines could not be written: {why}"));
        }
        let some = |count: u64| (count > 0).then_some(count);
        let record =
            Record::new(Severity::Warn, "goinit.dropped", Origin::Goinit, causes.join("; "))
                .put("dropped.lines", new)
                .put_some("dropped.debug", some(less(|dropped| dropped.debug)))
                .put_some("dropped.own", some(less(|dropped| dropped.vital)))
                .put_some("dropped.unwritten", some(unwritten))
                .put_some("dropped.snapshots", some(less(|dropped| dropped.snapshots)))
                .put("dropped.snapshots_total", report.dropped.snapshots)
                .put("counters.dropped_lines", report.lost());
        Some(record)
    }

    /// The raw copy stands so: what is to be said about it. Its first loss is said at once, those
    /// after it when it goes on.
    pub(super) fn copy(&mut self, report: SinkReport) -> Option<Record> {
        self.copy = Some(report);
        let lost = report.lost_bytes();
        let new = lost - self.copy_said;
        if new == 0 || (self.copy_said > 0 && (report.failing || !report.room)) {
            return None;
        }
        self.copy_said = lost;
        let why = match report.unwritten.records {
            0 => "its file does not take them fast enough",
            _ => words(report.unwritten.errno),
        };
        let message = format!("{new} bytes are missing in the raw copy of stderr: {why}");
        let record = Record::new(Severity::Warn, "goinit.dropped", Origin::Goinit, message)
            .put("dropped.raw_bytes", new)
            .put("counters.raw_lost_bytes", lost);
        Some(record)
    }

    /// Totals for the last record.
    pub(super) fn counters(&self) -> Vec<(&'static str, Value)> {
        let mut list = vec![
            ("counters.dropped_lines", self.log.lost().into()),
            ("counters.dropped_snapshots", self.log.dropped.snapshots.into()),
        ];
        let lost = self.copy.map(|copy| copy.lost_bytes()).filter(|lost| *lost > 0);
        list.extend(lost.map(|lost| ("counters.raw_lost_bytes", lost.into())));
        list
    }
}

/// Why writing fails (errno(3), the same numbers on all architectures that Go programs run on).
fn words(errno: i32) -> &'static str {
    match errno {
        0 => "there is no file",
        5 => "the disk has a fault",
        27 => "the file may not grow any more",
        28 => "the disk is full",
        32 => "its reader went away",
        122 => "the disk quota is used up",
        _ => "writing failed",
    }
}

#[cfg(test)]
mod tests {
    use super::super::backlog::Unwritten;
    use super::*;

    fn report(lines: u64, unwritten: u64, failing: bool, room: bool) -> SinkReport {
        SinkReport {
            dropped: Dropped { lines, bytes: lines, ..Dropped::default() },
            unwritten: Unwritten { records: unwritten, bytes: unwritten, errno: 28 },
            failing,
            room,
            flushed: true,
        }
    }

    #[test]
    fn losses_of_the_log_are_said_once_and_only_when_there_is_somebody_to_hear_it() {
        let mut losses = Losses::new(false);
        assert!(losses.log(report(5, 0, false, false)).is_none());
        assert!(losses.log(report(5, 2, true, true)).is_none());
        let said = losses.log(report(5, 2, false, true)).unwrap();
        assert_eq!(
            said.message(),
            "5 log lines were given up because the log was not read fast enough; \
             2 log lines could not be written: the disk is full"
        );
        assert_eq!(said.get("dropped.lines"), Some(&Value::Uint(7)));
        assert!(losses.log(report(5, 2, false, true)).is_none());
        let said = losses.log(report(6, 2, false, true)).unwrap();
        assert_eq!(said.get("dropped.lines"), Some(&Value::Uint(1)));
        assert_eq!(said.get("counters.dropped_lines"), Some(&Value::Uint(8)));
    }

    #[test]
    fn the_first_loss_of_the_copy_is_said_at_once() {
        let mut losses = Losses::new(true);
        assert!(!losses.copy_is_settled());
        let said = losses.copy(report(0, 3, true, true)).unwrap();
        assert_eq!(said.get("dropped.raw_bytes"), Some(&Value::Uint(3)));
        assert!(losses.copy(report(0, 9, true, true)).is_none());
        let said = losses.copy(report(0, 9, false, true)).unwrap();
        assert_eq!(said.get("dropped.raw_bytes"), Some(&Value::Uint(6)));
        assert!(losses.counters().contains(&("counters.raw_lost_bytes", 9u64.into())));
        assert!(losses.copy_is_settled());
    }
}
