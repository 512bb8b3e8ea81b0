//! The diagnosing half of a session: reads the program's stderr, watches its heartbeat, judges.
//! It may fail: the session catches it and goes on without.

use super::backlog::Class;
use super::event::{Action, Event};
use super::record::{Origin, Severity, text};
use super::session::Session;
use crate::units::{Mono, Now};

/// The state of the diagnosis.
#[derive(Debug, Default)]
pub struct Diagnosis {
    line: Vec<u8>,
}

impl Diagnosis {
    /// Takes one event.
    pub(super) fn see(
        &mut self,
        now: Now,
        event: &Event<'_>,
        session: &mut Session,
        _actions: &mut Vec<Action>,
    ) {
        match event {
            Event::Stderr(bytes) => {
                for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
                    self.line.extend_from_slice(piece);
                    if self.line.ends_with(b"\n") {
                        self.line.pop();
                        self.flush(now, session);
                    }
                }
            }
            Event::StderrClosed if !self.line.is_empty() => self.flush(now, session),
            _ => {}
        }
    }

    fn flush(&mut self, now: Now, session: &mut Session) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        session.outbox.write(Class::Line, |frame, out| {
            frame.head(now.wall, Severity::Info, out);
            text(&line, out);
            frame.tail("child.line", Origin::Child, out);
            out.extend_from_slice(b",\"child\":{\"stream\":\"stderr\"}}\n");
        });
        self.line.clear();
    }

    /// The earliest instant at which it wants to be asked again.
    pub(super) fn deadline(&self) -> Option<Mono> {
        None
    }
}
