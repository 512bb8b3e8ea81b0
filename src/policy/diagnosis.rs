//! The diagnosing half of a session: reads the program's stderr, watches its heartbeat, judges.
//! It may fail: the session catches it and goes on without.

use super::backlog::Class;
use super::config::Config;
use super::event::{Action, Event};
use super::outbox::Outbox;
use super::record::{Origin, Severity, text};
use super::session::Session;
use crate::go::entry::Entry;
use crate::go::line::{Assembler, Framing};
use crate::units::{Mono, Now};

/// What the diagnosis has to know about the start.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How the program's stderr arrives.
    pub framing: Framing,
    /// Whether the program is known to be a Go program.
    pub go: bool,
    /// Interval of its heartbeat, ms; 0 for none.
    pub heartbeat_ms: u32,
}

/// The state of the diagnosis.
#[derive(Debug)]
pub struct Diagnosis {
    assembler: Assembler,
}

impl Diagnosis {
    /// A diagnosis of a program that was just started.
    #[must_use]
    pub fn new(_config: &Config, setup: Setup, _now: Mono) -> Self {
        Self { assembler: Assembler::new(setup.framing) }
    }

    /// Takes one event.
    pub(super) fn see(
        &mut self,
        now: Now,
        event: &Event<'_>,
        session: &mut Session,
        _actions: &mut Vec<Action>,
    ) {
        let outbox = &mut session.outbox;
        let mut out = |entry: Entry<'_>| write(now, outbox, &entry);
        match event {
            Event::Stderr(bytes) => self.assembler.feed(bytes, &mut out),
            Event::Quiet => self.assembler.idle(&mut out),
            Event::StderrClosed => self.assembler.end(&mut out),
            _ => {}
        }
    }

    /// The earliest instant at which it wants to be asked again.
    pub(super) fn deadline(&self) -> Option<Mono> {
        None
    }
}

fn write(now: Now, outbox: &mut Outbox, entry: &Entry<'_>) {
    let line = match entry {
        Entry::Text(line) => String::from_utf8_lossy(line.bytes).into_owned(),
        Entry::Json(line) => {
            return outbox.write(Class::Line, |_, out| {
                out.extend_from_slice(line);
                out.push(b'\n');
            });
        }
        other => format!("{other:?}"),
    };
    outbox.write(Class::Line, |frame, out| {
        frame.head(now.wall, Severity::Info, out);
        text(&line, out);
        frame.tail("child.line", Origin::Child, out);
        out.extend_from_slice(b",\"child\":{\"stream\":\"stderr\"}}\n");
    });
}
