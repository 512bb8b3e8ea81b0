//! The log. Records are written at once, in atomic writes, as long as that does not wait; the
//! rest is a writer's, a thread of its own that is started when it is first needed: a log pipe
//! that nobody reads blocks write(2), and the loop must go on draining the program's stderr.
//!
//! What is written, and what is given up, is decided by [`Backlog`].

use crate::policy::backlog::{ATOMIC, Backlog, Batch, Class, SinkReport, Unwritten};
use crate::policy::outbox::Outbox;
use crate::sys::fd::{Waker, writable, write, write_now};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What the loop and the writer share.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    out: Out,
    /// Nothing when no descriptor was left for it: then nobody is woken.
    waker: Option<Waker>,
}

/// Where the log goes.
#[derive(Debug)]
enum Out {
    /// Nowhere: standard error is closed.
    Nowhere,
    /// A descriptor of ours.
    Open(File),
    /// A file that the writer opens: its file system may keep it waiting.
    At(PathBuf),
}

impl Shared {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

#[derive(Debug, Default)]
struct Queue {
    backlog: Backlog,
    /// Taken out of the backlog and not yet written, as long as the writer does not hold it.
    batch: Batch,
    /// What could not be written: the reader went away, the disk is full.
    unwritten: Unwritten,
    /// The last write failed.
    failing: bool,
    /// The writer is inside write(2) or about to be.
    busy: bool,
    /// The loop wants to be woken when everything is written or there is room again.
    awaited: bool,
    /// Whether the log can say that a write would wait.
    at_once: bool,
    /// Whether the writer was started.
    writer: bool,
}

impl Queue {
    fn is_empty(&self) -> bool {
        self.backlog.is_empty() && self.batch.is_empty()
    }

    /// Writes records straight away, as many as need not wait and have nothing before them; gives
    /// the number of those that are done with.
    fn write_at_once(&mut self, out: BorrowedFd<'_>, outbox: &Outbox) -> usize {
        let mut done = 0;
        if !self.at_once || self.busy || !self.is_empty() {
            return done;
        }
        for (count, bytes) in outbox.pieces(ATOMIC) {
            match write_now(out, bytes) {
                Ok(written) => {
                    self.failing = false;
                    if written < bytes.len() {
                        // The rest of the piece goes before everything else.
                        let piece = outbox.records().skip(done).take(count);
                        piece.for_each(|(class, record)| self.backlog.push(class, record, true));
                        self.backlog.take(&mut self.batch);
                        self.batch.written(written);
                        return done + count;
                    }
                    done += count;
                }
                // What it is, the writer finds out.
                Err(error) => {
                    self.at_once = error.kind() == std::io::ErrorKind::WouldBlock;
                    return done;
                }
            }
        }
        done
    }
}

/// The loop's end of the log.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
}

/// Stack of the writer thread: it calls write(2) and little else.
const STACK_BYTES: usize = 64 << 10;
/// So long after the last record of a flood its memory is given back.
const CALM: Duration = Duration::from_secs(1);

impl Sink {
    /// A log that goes to `out`. Without it (standard error closed) records count as unwritten and
    /// everything else goes on.
    #[must_use]
    pub fn new(out: Option<OwnedFd>, waker: Option<Waker>) -> Self {
        let out = out.map(File::from);
        // A file may keep a write waiting for its disk whatever it was asked for.
        let file = |out: &File| out.metadata().is_ok_and(|about| about.is_file());
        let at_once = out.as_ref().is_some_and(|out| !file(out));
        let queue = Mutex::new(Queue { at_once, ..Queue::default() });
        let out = out.map_or(Out::Nowhere, Out::Open);
        Self { shared: Arc::new(Shared { queue, filled: Condvar::new(), out, waker }) }
    }

    /// A log that is appended to the file at `path`, which is made if need be. Where that fails, a
    /// warning says so, records count as unwritten and everything else goes on.
    #[must_use]
    pub fn to_file(path: PathBuf, waker: Option<Waker>) -> Self {
        let (queue, out) = (Mutex::default(), Out::At(path));
        Self { shared: Arc::new(Shared { queue, filled: Condvar::new(), out, waker }) }
    }

    /// Takes rendered records; never waits. Whoever `keeps` wants none given up, and takes in
    /// nothing more until there is room again.
    pub fn push(&self, keeps: bool, outbox: &Outbox) {
        let mut queue = lock(&self.shared);
        let done = match &self.shared.out {
            Out::Open(out) => queue.write_at_once(out.as_fd(), outbox),
            Out::Nowhere | Out::At(_) => 0,
        };
        self.queue(queue, keeps, outbox.records().skip(done));
    }

    /// Takes bytes that are to be written as they are; never waits.
    pub fn copy(&self, bytes: &[u8]) {
        self.queue(lock(&self.shared), false, std::iter::once((Class::Line, bytes)));
    }

    /// Leaves records to the writer.
    fn queue<'a>(
        &self,
        mut queue: MutexGuard<'_, Queue>,
        keeps: bool,
        records: impl Iterator<Item = (Class, &'a [u8])>,
    ) {
        if matches!(self.shared.out, Out::Nowhere) {
            queue.failing = true;
            records.for_each(|(_, record)| queue.unwritten.count(record.len(), None));
            return;
        }
        for (class, record) in records {
            queue.backlog.push(class, record, keeps);
        }
        if queue.busy || queue.is_empty() {
            return;
        }
        if !queue.writer {
            // Where no thread can be made, the next records try again.
            queue.writer = self.start_writer();
        }
        drop(queue);
        self.shared.filled.notify_one();
    }

    fn start_writer(&self) -> bool {
        let shared = Arc::clone(&self.shared);
        let thread = std::thread::Builder::new().name("log".into()).stack_size(STACK_BYTES);
        thread.spawn(move || writer(&shared)).is_ok()
    }

    /// Where the log stands; asks to be woken when it is not yet flushed.
    pub fn report(&self) -> SinkReport {
        let mut queue = lock(&self.shared);
        let flushed = queue.is_empty() && !queue.busy;
        queue.awaited = !flushed;
        SinkReport {
            dropped: queue.backlog.dropped(),
            unwritten: queue.unwritten,
            failing: queue.failing,
            room: queue.backlog.has_room(),
            flushed,
        }
    }

    /// Bytes that are not written yet, as far as that is known.
    pub fn waiting(&self) -> usize {
        let queue = lock(&self.shared);
        queue.backlog.length() + usize::from(queue.busy || !queue.batch.is_empty())
    }

    /// Readable when the writer has news.
    pub fn waker(&self) -> Option<BorrowedFd<'_>> {
        self.shared.waker.as_ref().map(AsFd::as_fd)
    }

    /// Takes the news.
    pub fn heard(&self) {
        if let Some(waker) = &self.shared.waker {
            waker.clear();
        }
    }
}

fn lock(shared: &Shared) -> MutexGuard<'_, Queue> {
    // A panic in the writer must not become one in the loop.
    shared.queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens the file of a log that is given by its path.
fn open(path: &Path) -> Option<File> {
    let opened = OpenOptions::new().append(true).create(true).open(path);
    if let Err(error) = &opened {
        log::warn!("--raw {}: {error}; the run goes on without", path.display());
    }
    opened.ok()
}

fn writer(shared: &Shared) {
    let opened;
    let out = match &shared.out {
        Out::Nowhere => None,
        Out::Open(out) => Some(out),
        Out::At(path) => {
            opened = open(path);
            opened.as_ref()
        }
    };
    let mut batch = Batch::default();
    // A copy of bytes has no lines of ours to keep apart.
    let mut torn = matches!(shared.out, Out::Open(_)).then_some(false);
    let mut queue = lock(shared);
    loop {
        while queue.is_empty() {
            queue = rest(shared, queue);
        }
        let was_full = !queue.backlog.has_room();
        // First what could not be written at once.
        std::mem::swap(&mut batch, &mut queue.batch);
        if batch.is_empty() {
            queue.backlog.take(&mut batch);
        }
        queue.busy = true;
        let room_again = was_full && queue.backlog.has_room();
        drop(queue);
        if room_again {
            shared.wake();
        }
        let mut unwritten = Unwritten::default();
        let failing = write_out(out.map(AsFd::as_fd), &mut batch, &mut torn, &mut unwritten);
        queue = lock(shared);
        queue.busy = false;
        let news = unwritten.records > 0 || failing != queue.failing;
        queue.failing = failing;
        queue.unwritten.add(unwritten);
        if queue.is_empty() && (queue.awaited || news) {
            queue.awaited = false;
            shared.wake();
        }
    }
}

/// Waits to be called; after a flood for a moment first, and then without its memory.
fn rest<'a>(shared: &Shared, queue: MutexGuard<'a, Queue>) -> MutexGuard<'a, Queue> {
    if !queue.backlog.is_large() {
        return shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    let waited = shared.filled.wait_timeout(queue, CALM);
    let (mut queue, waited) = waited.unwrap_or_else(PoisonError::into_inner);
    if waited.timed_out() && queue.is_empty() {
        queue.backlog.shrink();
    }
    queue
}

/// Writes a batch, waiting as long as it takes, and counts what cannot be written at all; says
/// whether the last write failed. A record of which a part was written (a disk that became full)
/// is `torn` and gets its newline before the next one, which would stand in the same line else.
fn write_out(
    out: Option<BorrowedFd<'_>>,
    batch: &mut Batch,
    torn: &mut Option<bool>,
    unwritten: &mut Unwritten,
) -> bool {
    let mut failing = false;
    while !batch.is_empty() {
        let next: &[u8] = if *torn == Some(true) { b"\n" } else { batch.next() };
        match out.map_or(Ok(0), |out| write_waiting(out, next)) {
            Ok(1..) if *torn == Some(true) => *torn = Some(false),
            Ok(written @ 1..) => {
                batch.written(written);
                failing = false;
            }
            nothing => {
                let (length, begun) = batch.give_up();
                *torn = torn.map(|torn| torn || begun);
                unwritten.count(length, nothing.err().and_then(|error| error.raw_os_error()));
                failing = true;
            }
        }
    }
    failing
}

/// One write that may be short.
fn write_waiting(out: BorrowedFd<'_>, bytes: &[u8]) -> std::io::Result<usize> {
    loop {
        match write(out, bytes) {
            // Somebody made the shared descriptor non-blocking: wait for room here instead.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock && writable(out) => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::{clock, fd, poll};
    use std::io::Read;

    fn log() -> (File, Sink) {
        let (reader, writer) = fd::pipe().unwrap();
        (File::from(reader), Sink::new(Some(writer), Waker::new().ok()))
    }

    fn push(sink: &Sink, record: &[u8]) {
        let mut outbox = Outbox::new(7);
        outbox.write(Class::Line, |_, out| out.extend_from_slice(record));
        sink.push(false, &outbox);
    }

    fn flushed(sink: &Sink) -> bool {
        let now = clock::now();
        let until = now.mono.after(Duration::from_secs(10));
        while !sink.report().flushed && clock::mono() < until {
            let [_] = poll::readable([sink.waker()], Some(until), clock::now());
            sink.heard();
        }
        sink.report().flushed
    }

    #[test]
    fn a_record_that_finds_room_is_written_at_once_without_a_thread() {
        let (mut reader, sink) = log();
        push(&sink, b"one\n");
        push(&sink, b"two\n");
        assert!(sink.report().flushed);
        // Pipes can say so from Linux 5.9 on.
        assert!(!lock(&sink.shared).writer);
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "one\ntwo\n");
    }

    #[test]
    fn nobody_waits_for_a_reader_and_the_order_stays() {
        let (mut reader, sink) = log();
        let long = [b"x".repeat(1_999), b"\n".to_vec()].concat();
        let mut expected = Vec::new();
        // 64 KiB fit into the pipe; what follows is the writer's, short or long.
        for number in 0..100 {
            let short = format!("{number}\n").into_bytes();
            for record in [&long, &short] {
                push(&sink, record);
                expected.extend_from_slice(record);
            }
        }
        assert!(!sink.report().flushed);
        let mut got = vec![0; expected.len()];
        reader.read_exact(&mut got).unwrap();
        assert!(flushed(&sink));
        assert!(got == expected, "the order is another one");
        push(&sink, b"after\n");
        let mut got = [0; 6];
        reader.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"after\n");
    }

    #[test]
    fn what_nobody_can_read_is_counted() {
        let (reader, sink) = log();
        drop(reader);
        push(&sink, b"one\n");
        push(&sink, b"two\n");
        assert!(flushed(&sink));
        assert_eq!((sink.report().unwritten.records, sink.report().failing), (2, true));
        let closed = Sink::new(None, None);
        push(&closed, b"three\n");
        assert_eq!((closed.report().unwritten.records, closed.report().flushed), (1, true));
    }
}
