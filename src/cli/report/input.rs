//! Files as people have them: compressed, rotated, or on standard input; which of them belong
//! together, and in which order they were written.

use crate::policy::report::capture::unwrap;
use crate::policy::report::{Reader, Source, own};
use crate::units::Wall;
use flate2::bufread::MultiGzDecoder;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// Bytes read at a time.
const CHUNK: usize = 256 * 1024;
/// Bytes of a file that are looked at to find when it was written.
const PEEK: usize = 64 * 1024;

/// Files that make one log, in the order in which they were written.
#[derive(Debug)]
pub(crate) struct Log {
    /// What to call it: the file, or the newest of several.
    pub(crate) name: String,
    /// The files.
    pub(crate) files: Vec<OsString>,
}

/// How files belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Grouping {
    /// By name and by what is in them.
    Auto,
    /// All are one log.
    Join,
    /// Each is a log.
    Each,
}

/// What was read of a log.
#[derive(Debug)]
pub(crate) struct Readings {
    /// The containers in it.
    pub(crate) sources: Vec<Source>,
    /// Why it is not all of it.
    pub(crate) trouble: Vec<String>,
    /// Whether anything could be read.
    pub(crate) readable: bool,
}

/// What the beginning of a file tells about its place among others.
#[derive(Debug, Default)]
struct Peeked {
    wall: Option<Wall>,
    uptime: Option<u64>,
    run: Option<String>,
}

/// Puts files together that are pieces of one log.
pub(crate) fn group(files: Vec<OsString>, grouping: Grouping) -> Vec<Log> {
    let mut families: Vec<(OsString, Vec<(OsString, Peeked)>)> = Vec::new();
    let alone = files.len() == 1 || grouping == Grouping::Each;
    for file in files {
        let peeked = if alone { Peeked::default() } else { peek(&file) };
        let family = match grouping {
            Grouping::Join => OsString::new(),
            Grouping::Each => file.clone(),
            Grouping::Auto => family(&file),
        };
        let same_run = |others: &[(OsString, Peeked)]| {
            peeked.run.is_some() && others.iter().any(|(_, other)| other.run == peeked.run)
        };
        let known = families.iter_mut().find(|(name, others)| {
            !alone && (*name == family || (grouping == Grouping::Auto && same_run(others)))
        });
        match known {
            Some((_, others)) => others.push((file, peeked)),
            None => families.push((family, vec![(file, peeked)])),
        }
    }
    families.into_iter().map(|(_, members)| ordered(members)).collect()
}

/// In the order of time, as far as their beginnings tell it; else in the order of rotation.
fn ordered(mut members: Vec<(OsString, Peeked)>) -> Log {
    let all = |known: fn(&Peeked) -> bool| members.iter().all(|(_, peeked)| known(peeked));
    if all(|peeked| peeked.wall.is_some()) {
        members.sort_by_key(|(_, peeked)| peeked.wall);
    } else if all(|peeked| peeked.uptime.is_some()) {
        members.sort_by_key(|(_, peeked)| peeked.uptime);
    } else {
        members.sort_by_key(|(file, _)| age(file));
    }
    let files: Vec<OsString> = members.into_iter().map(|(file, _)| file).collect();
    let newest = files.last().map(|file| file.to_string_lossy().into_owned());
    Log { name: newest.unwrap_or_default(), files }
}

/// A file's name without what rotation adds: `app.log` for `app.log.2.gz`, `app.log-20260302`,
/// `app-2026-03-02T09-14-07.123.log`, `0.log.20260302-091407.gz`.
fn family(file: &OsStr) -> OsString {
    if file == "-" {
        return file.to_owned();
    }
    let path = Path::new(file);
    let name = path.file_name().unwrap_or(file).to_string_lossy().into_owned();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    let dated = |text: &str| {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        digits >= 8 && text.bytes().all(|b| b.is_ascii_digit() || b"-T:._".contains(&b))
    };
    let numbered =
        |text: &str| (1..=3).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    let behind = |mark: char, fits: &dyn Fn(&str) -> bool| {
        let (before, last) = stem.rsplit_once(mark)?;
        (!before.is_empty() && fits(last)).then(|| before.to_owned())
    };
    let inside = || {
        let (body, kind) = stem.rsplit_once('.')?;
        let dashes = body.match_indices('-').map(|(at, _)| at);
        let mut dates = dashes.filter(|at| dated(body.get(at + 1..).unwrap_or_default()));
        Some(format!("{}.{kind}", body.get(..dates.next()?)?))
    };
    let stem = behind('.', &|last| numbered(last) || dated(last))
        .or_else(|| behind('-', &dated))
        .or_else(inside)
        .unwrap_or_else(|| stem.to_owned());
    path.with_file_name(stem).into_os_string()
}

/// How old a rotated file is by its name, for sorting: oldest first, the one without a number
/// last.
fn age(file: &OsStr) -> (bool, std::cmp::Reverse<u64>, String) {
    let name = file.to_string_lossy();
    let stem = name.strip_suffix(".gz").unwrap_or(&name);
    let last = stem.rsplit('.').next().unwrap_or_default();
    let number = last.parse::<u64>().ok().filter(|n| *n < 1_000);
    (number.is_none(), std::cmp::Reverse(number.unwrap_or(0)), stem.to_owned())
}

/// Looks at the beginning of a file.
fn peek(file: &OsStr) -> Peeked {
    let mut found = Peeked::default();
    if file == "-" {
        return found;
    }
    let Ok(input) = open(file) else { return found };
    let mut bytes = Vec::new();
    let _ = input.take(PEEK as u64).read_to_end(&mut bytes);
    let lines = bytes.split(|byte| *byte == b'\n').take(500);
    for line in lines {
        let inner = unwrap(line);
        let text: &[u8] = inner.as_ref().map_or(line, |inner| &inner.text);
        let record = own::parse(text);
        let wall = inner.as_ref().and_then(|inner| inner.wall);
        let wall = wall.or(record.as_ref().and_then(|record| record.wall));
        found.wall = found.wall.or(wall);
        found.run = found.run.take().or(record.map(|record| record.run));
        if found.uptime.is_none()
            && let Some(rest) = text.strip_prefix(b"SCHED ")
        {
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let digits = std::str::from_utf8(rest.get(..digits).unwrap_or_default());
            found.uptime = digits.ok().and_then(|digits| digits.parse().ok());
        }
    }
    found
}

/// Reads a log from its first file to its last.
pub(crate) fn read(log: &Log) -> Readings {
    let mut reader = Reader::new();
    let (mut trouble, mut readable) = (Vec::new(), false);
    for (number, file) in log.files.iter().enumerate() {
        if number > 0 {
            reader.next_file();
        }
        let shown = if file == "-" { "standard input".into() } else { file.to_string_lossy() };
        match open(file) {
            Ok(input) => {
                readable = true;
                if let Err(error) = pour(input, &mut reader) {
                    trouble.push(format!("{shown}: {}; what came before was read", says(&error)));
                }
            }
            Err(error) => trouble.push(format!("cannot read {shown}: {}", says(&error))),
        }
    }
    Readings { sources: reader.end(), trouble, readable }
}

fn pour(mut input: Box<dyn BufRead>, reader: &mut Reader) -> io::Result<()> {
    loop {
        let count = match input.fill_buf() {
            Ok([]) => return Ok(()),
            Ok(bytes) => {
                reader.feed(bytes);
                bytes.len()
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) => return Err(error),
        };
        input.consume(count);
    }
}

/// Opens a file and takes the compression off.
fn open(file: &OsStr) -> io::Result<Box<dyn BufRead>> {
    let refused = |text: String| Err(io::Error::other(text));
    let mut input: Box<dyn BufRead> = if file == "-" {
        Box::new(BufReader::with_capacity(CHUNK, io::stdin()))
    } else {
        let opened = File::open(file)?;
        if opened.metadata()?.is_dir() {
            return refused("it is a directory; name the log files in it".to_owned());
        }
        Box::new(BufReader::with_capacity(CHUNK, opened))
    };
    let head = input.fill_buf()?;
    let shown = if file == "-" { "FILE".into() } else { file.to_string_lossy() };
    let packed = |tool: &str, how: &str| {
        refused(format!("it is compressed with {tool}; try: {how} {shown} | goinit report -"))
    };
    match head {
        [0x1f, 0x8b, ..] => {
            let unpacked = MultiGzDecoder::new(input);
            Ok(Box::new(BufReader::with_capacity(CHUNK, unpacked)))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => packed("zstd", "zstd -dc"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => packed("xz", "xz -dc"),
        [b'B', b'Z', b'h', ..] => packed("bzip2", "bzip2 -dc"),
        [b'P', b'K', 3, 4, ..] => packed("zip", "unzip -p"),
        [0x7f, b'E', b'L', b'F', ..] => refused(format!(
            "it is a program, not a log; try: goinit inspect {shown}, or goinit -- {shown}"
        )),
        _ => Ok(input),
    }
}

/// An error with its remedy.
fn says(error: &io::Error) -> String {
    let kind = error.kind();
    if kind == io::ErrorKind::NotFound {
        "there is no such file".to_owned()
    } else if kind == io::ErrorKind::PermissionDenied {
        "permission denied; logs of a node can mostly be read by root only".to_owned()
    } else if kind == io::ErrorKind::UnexpectedEof {
        "the compressed data ends too early".to_owned()
    } else if [io::ErrorKind::InvalidInput, io::ErrorKind::InvalidData].contains(&kind) {
        format!("the compressed data is damaged ({error})")
    } else {
        error.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotated_names_are_one_family() {
        for (name, stem) in [
            ("app.log", "app.log"),
            ("app.log.1", "app.log"),
            ("app.log.12.gz", "app.log"),
            ("/var/log/app.log-20260302", "/var/log/app.log"),
            ("/var/log/app.log-20260302.gz", "/var/log/app.log"),
            ("app-2026-03-02T09-14-07.123.log", "app.log"),
            ("0.log.20260302-091407.gz", "0.log"),
            ("0.log.20260302-091407", "0.log"),
            ("chan-recv__go1.21.13__sched200-p8.log", "chan-recv__go1.21.13__sched200-p8.log"),
            ("web-7d9f-1.log", "web-7d9f-1.log"),
            ("-", "-"),
        ] {
            assert_eq!(family(OsStr::new(name)), *stem, "{name}");
        }
    }

    #[test]
    fn the_oldest_rotated_file_comes_first() {
        let mut names = ["app.log", "app.log.1", "app.log.10.gz", "app.log.2.gz"].map(OsStr::new);
        names.sort_by_key(|name| age(name));
        assert_eq!(names, ["app.log.10.gz", "app.log.2.gz", "app.log.1", "app.log"]);
    }
}
