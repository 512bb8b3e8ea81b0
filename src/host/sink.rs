//! The log's writer: a thread of its own, because a log pipe that nobody reads blocks write(2),
//! and the loop must go on draining the program's stderr.
//!
//! What is written, and what is given up, is decided by [`Backlog`].

use crate::policy::backlog::{Backlog, Batch, Class, SinkReport};
use crate::sys::fd::{Waker, writable, write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// What the loop and the writer share.
#[derive(Debug)]
struct Shared {
    queue: Mutex<Queue>,
    filled: Condvar,
    /// Nothing when no descriptor was left for it: then nobody is woken.
    waker: Option<Waker>,
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
    /// Records that could not be written: the reader went away, the disk is full.
    unwritten: u64,
    /// The writer is inside write(2) or about to be.
    busy: bool,
    /// The loop wants to be woken when everything is written or there is room again.
    awaited: bool,
}

/// The loop's end of the log.
#[derive(Debug)]
pub struct Sink {
    shared: Arc<Shared>,
    /// Whether there is a writer at all.
    running: bool,
}

/// Stack of the writer thread: it calls write(2) and little else.
const STACK_BYTES: usize = 64 << 10;

impl Sink {
    /// Starts the writer on `out`, the log's descriptor. Without one (standard error closed), or
    /// when no thread can be made, records count as unwritten and everything else goes on.
    #[must_use]
    pub fn start(out: Option<OwnedFd>, waker: Option<Waker>) -> Self {
        let shared = Arc::new(Shared { queue: Mutex::default(), filled: Condvar::new(), waker });
        let theirs = Arc::clone(&shared);
        let running = out.is_some_and(|out| {
            std::thread::Builder::new()
                .name("log".into())
                .stack_size(STACK_BYTES)
                .spawn(move || writer(&theirs, out.as_fd()))
                .is_ok()
        });
        Self { shared, running }
    }

    /// Queues rendered records; never waits.
    pub fn push<'a>(&self, records: impl Iterator<Item = (Class, &'a [u8])>) {
        let mut queue = lock(&self.shared);
        for (class, record) in records {
            if self.running {
                queue.backlog.push(class, record);
            } else {
                queue.unwritten += 1;
            }
        }
        let wake = !queue.busy && !queue.backlog.is_empty();
        drop(queue);
        if wake {
            self.shared.filled.notify_one();
        }
    }

    /// Where the log stands; asks to be woken when it is not yet flushed.
    pub fn report(&self) -> SinkReport {
        let mut queue = lock(&self.shared);
        let flushed = queue.backlog.is_empty() && !queue.busy;
        queue.awaited = !flushed;
        SinkReport {
            dropped: queue.backlog.dropped(),
            unwritten: queue.unwritten,
            room: queue.backlog.has_room(),
            flushed,
        }
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

fn writer(shared: &Shared, out: BorrowedFd<'_>) {
    let mut batch = Batch::default();
    let mut queue = lock(shared);
    loop {
        while queue.backlog.is_empty() {
            queue = shared.filled.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        let was_full = !queue.backlog.has_room();
        queue.backlog.take(&mut batch);
        queue.busy = true;
        let room_again = was_full && queue.backlog.has_room();
        drop(queue);
        if room_again {
            shared.wake();
        }
        let unwritten = write_out(out, &batch);
        queue = lock(shared);
        queue.busy = false;
        queue.unwritten += unwritten;
        if queue.backlog.is_empty() && (queue.awaited || unwritten > 0) {
            queue.awaited = false;
            shared.wake();
        }
    }
}

/// Writes a batch; gives the number of records that could not be written.
fn write_out(out: BorrowedFd<'_>, batch: &Batch) -> u64 {
    let mut rest = batch.bytes.as_slice();
    let mut unwritten = 0;
    for (length, records) in batch.writes.iter().zip(&batch.records) {
        let (now, later) = rest.split_at_checked(*length).unwrap_or((rest, &[]));
        rest = later;
        if !write_all(out, now) {
            unwritten += records;
        }
    }
    unwritten
}

/// Writes everything, waiting as long as it takes; false when it cannot be written at all.
fn write_all(out: BorrowedFd<'_>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match write(out, bytes) {
            Ok(0) => return false,
            Ok(written) => bytes = bytes.get(written..).unwrap_or_default(),
            // Somebody made the shared descriptor non-blocking: wait for room here instead.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if !writable(out) {
                    return false;
                }
            }
            Err(_) => return false,
        }
    }
    true
}
