//! The Kubernetes termination message: found before the start, written at a bad end.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

/// Where the message goes.
#[derive(Debug, Default)]
pub struct Message {
    /// The file; nothing is ever created.
    pub path: Option<PathBuf>,
    /// Bytes it may have.
    pub limit: usize,
}

impl Message {
    /// Writes the message, once, if the file exists. Failing changes nothing about the end.
    pub fn leave(&self, text: &str) {
        let Some(path) = &self.path else { return };
        let mut text = text.to_owned();
        crate::policy::record::shorten(&mut text, self.limit);
        let file = OpenOptions::new().write(true).truncate(true).create(false).open(path);
        let _ = file.and_then(|mut file| file.write_all(text.as_bytes()));
    }
}
