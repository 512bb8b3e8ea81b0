//! The Kubernetes termination message: found before the start, written at a bad end.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Where the message goes.
#[derive(Debug, Default)]
pub struct Message {
    /// The file; nothing is ever created.
    pub path: Option<PathBuf>,
    /// Bytes it may have.
    pub limit: usize,
}

/// How long the end waits for a file system that does not answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// Stack of the thread that writes.
const STACK_BYTES: usize = 64 << 10;

/// A message that is being written.
#[derive(Debug, Default)]
#[must_use = "the process must not end before the message is written"]
pub struct Leaving(Option<Arc<Written>>);

#[derive(Debug, Default)]
struct Written {
    done: Mutex<bool>,
    told: Condvar,
}

impl Message {
    /// Begins to write the message if the file exists: in a thread of its own, because its file
    /// system may hang. Failing changes nothing about the end.
    pub fn leave(&self, text: &str) -> Leaving {
        let Some(path) = self.path.clone() else { return Leaving::default() };
        let mut text = text.to_owned();
        crate::policy::record::shorten(&mut text, self.limit);
        let written = Arc::new(Written::default());
        let theirs = Arc::clone(&written);
        let copy = (path.clone(), text.clone());
        let thread = std::thread::Builder::new().name("message".into()).stack_size(STACK_BYTES);
        let started = thread.spawn(move || {
            write(&path, &text);
            *theirs.done.lock().unwrap_or_else(PoisonError::into_inner) = true;
            theirs.told.notify_one();
        });
        if started.is_err() {
            // No thread to be had: most likely nothing hangs.
            write(&copy.0, &copy.1);
            return Leaving::default();
        }
        Leaving(Some(written))
    }
}

impl Leaving {
    /// Waits until the message is written, one second at most.
    pub fn wait(self) {
        let Some(written) = self.0 else { return };
        let done = written.done.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = written.told.wait_timeout_while(done, PATIENCE, |done| !*done);
    }
}

fn write(path: &Path, text: &str) {
    let file = OpenOptions::new().write(true).truncate(true).create(false).open(path);
    let _ = file.and_then(|mut file| file.write_all(text.as_bytes()));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_replaces_what_the_file_holds_and_no_file_is_made() {
        let place = std::env::temp_dir().join(format!("goinit-message-{}", std::process::id()));
        let message = Message { path: Some(place.clone()), limit: 256 };
        message.leave("nobody made the file").wait();
        assert!(!place.exists());
        std::fs::write(&place, "what was there before, and longer").unwrap();
        message.leave("the end").wait();
        assert_eq!(std::fs::read_to_string(&place).unwrap(), "the end");
        std::fs::remove_file(place).unwrap();
    }
}
