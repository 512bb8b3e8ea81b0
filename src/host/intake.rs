//! The program's stderr as the loop takes it in: read by read, in slices that are whole lines where
//! possible. Who writes often is read in batches: [`Pace`] says when, and in packet mode, where a
//! read brings a single packet and wakes whoever waits for its page, all packets are moved into a
//! pipe of our own first, which wakes the program once.

use crate::policy::pace::{Found, Pace};
use crate::sys::fd::{self, Framing};
use crate::sys::trial::Trial;
use crate::units::Mono;
use std::io::{Error, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

/// What one look at the program's stderr found.
#[derive(Debug)]
pub enum Taken<'a> {
    /// Bytes: one write of it in packet mode.
    Bytes(&'a [u8]),
    /// Nothing, for now.
    Nothing,
    /// Nobody can write to it any more.
    Closed,
}

/// Bytes of one read from a stream.
const READ: usize = 64 << 10;
/// Bytes that are handed out at once: each of them can be a line, and little more than can be
/// written down has to be remembered. The longest packet is just as long, pipe(7).
const SLICE: usize = 4_096;
/// What a packet counts for at least: a read and a page for it cost as much as so much text.
const PACKET_BYTES: usize = 256;
/// A read of a stream that brings less has emptied the pipe; after so many of them in a turn there
/// is no use in going on, each line would be a read.
const SMALL: usize = 4_096;
const SMALL_READS: u32 = 16;
/// A pipe with less room gets no pipe of our own behind it.
const SIDE_LEAST: usize = 256 << 10;
/// How often a failing read is tried again: giving the pipe up means SIGPIPE for the program.
const READ_TRIES: u32 = 8;

/// A process that does next to nothing ends within this time, unless the CPU is taken.
const TRIAL: Duration = Duration::from_millis(10);

/// The reading end of the program's stderr.
#[derive(Debug)]
pub struct Intake {
    pipe: OwnedFd,
    packets: bool,
    /// The last read, and how much of it was handed out.
    buffer: Vec<u8>,
    done: usize,
    side: Option<Side>,
    splice: Splice,
    pace: Pace,
    found: Found,
    /// How much this turn has brought.
    turn: usize,
    /// The last look found something, so there may be more, whatever poll says.
    more: bool,
    /// Until when the pipe is left alone.
    until: Option<Mono>,
}

/// Whether packets may be moved, which is found out in the first flood.
#[derive(Debug)]
enum Splice {
    /// Nobody has asked.
    Untried,
    /// A child tries: a sandbox may end whoever calls splice(2).
    Tried(Trial),
    Allowed,
    /// The program's pipe is small, no descriptor was left for one of our own, or a sandbox does
    /// not know splice(2).
    Unfit,
}

impl Splice {
    fn is_allowed(&mut self) -> bool {
        if matches!(self, Self::Untried) {
            *self = Trial::of_splice().map_or(Self::Unfit, Self::Tried);
        }
        self.hear();
        matches!(self, Self::Allowed)
    }

    /// Hears what became of the child that tries, and reaps it.
    fn hear(&mut self) {
        if let Self::Tried(trial) = self
            && let Some(survived) = trial.survived()
        {
            *self = if survived { Self::Allowed } else { Self::Unfit };
        }
    }
}

/// Packets that were moved out of the program's pipe.
#[derive(Debug)]
struct Side {
    reader: OwnedFd,
    writer: OwnedFd,
    /// Bytes in it.
    left: usize,
}

impl Intake {
    /// Takes in what comes out of `pipe`, which never waits and holds so many bytes.
    #[must_use]
    pub fn new(pipe: OwnedFd, framing: Framing, pipe_bytes: usize) -> Self {
        let packets = framing == Framing::Packets;
        // A packet is cut off where the buffer ends, and behind bytes of a writer that opened the
        // pipe anew it can be anywhere: a read of packets has room for all that the pipe holds.
        let room = if packets { READ.max(pipe_bytes) } else { READ };
        Self {
            pipe,
            packets,
            // Memory is touched only where bytes arrive.
            buffer: Vec::with_capacity(room),
            done: 0,
            side: None,
            // With little room in it there is little to be moved at once.
            splice: if pipe_bytes < SIDE_LEAST { Splice::Unfit } else { Splice::Untried },
            pace: Pace::new(pipe_bytes, packets),
            found: Found::default(),
            turn: 0,
            more: false,
            until: None,
        }
    }

    /// The pipe, to wait for.
    #[must_use]
    pub fn pipe(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }

    /// When to look again whether or not the pipe is readable; nothing as long as only that counts.
    #[must_use]
    pub fn due(&mut self, now: Mono) -> Option<Mono> {
        // The flood may be over: nothing else asks, and the child would stay a zombie.
        self.splice.hear();
        let found = std::mem::take(&mut self.found);
        if found.emptied || found.reads > 0 {
            self.until = self.pace.turn(now, found).map(|pause| now.after(pause));
            self.more |= self.until.is_some();
            if found.emptied && self.until.is_none() {
                self.side = None;
            }
        }
        self.more.then(|| self.until.unwrap_or(now))
    }

    /// When to ask again for the child that tries splice(2), if one does.
    #[must_use]
    pub fn trial(&self, now: Mono) -> Option<Mono> {
        matches!(self.splice, Splice::Tried(_)).then(|| now.after(TRIAL))
    }

    /// A turn begins.
    pub fn begin(&mut self) {
        (self.turn, self.until) = (0, None);
    }

    /// Whether there may be more: nothing was looked for yet behind the last bytes.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.more
    }

    /// How much this turn has brought, packets at their price.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.turn
    }

    /// The next bytes.
    pub fn take(&mut self) -> Taken<'_> {
        if self.done >= self.buffer.len() {
            self.done = 0;
            self.buffer.clear();
            // Each of these small reads has emptied the pipe.
            let flood = self.pace.floods() || self.found.small >= SMALL_READS;
            if !self.packets && flood && self.found.small > 0 {
                self.found.emptied = true;
                return Taken::Nothing;
            }
            match self.fill() {
                Ok(0) => return Taken::Closed,
                Ok(length) => self.count(length),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.found.emptied = true;
                    self.more = false;
                    return Taken::Nothing;
                }
                Err(_) => return Taken::Closed,
            }
        }
        let rest = self.buffer.get(self.done..).unwrap_or_default();
        let window = rest.get(..SLICE).unwrap_or(rest);
        let lines = memchr::memrchr(b'\n', window).filter(|_| window.len() < rest.len());
        let slice = lines.and_then(|newline| window.get(..=newline)).unwrap_or(window);
        self.done += slice.len();
        self.turn += slice.len().max(PACKET_BYTES);
        Taken::Bytes(slice)
    }

    fn count(&mut self, length: usize) {
        self.more = true;
        self.found.reads += 1;
        self.found.small += u32::from(self.packets || length < SMALL);
        self.found.bytes += length;
    }

    /// One read; one that fails is tried again.
    fn fill(&mut self) -> Result<usize, Error> {
        let mut tries = 0;
        loop {
            match self.read() {
                Err(error) if error.kind() != ErrorKind::WouldBlock && tries < READ_TRIES => {
                    tries += 1;
                }
                done => return done,
            }
        }
    }

    fn read(&mut self) -> Result<usize, Error> {
        let flood = self.packets && self.pace.floods();
        if flood && self.side.is_none() && self.splice.is_allowed() {
            match fd::side_pipe() {
                Ok((reader, writer)) => self.side = Some(Side { reader, writer, left: 0 }),
                Err(_) => self.splice = Splice::Unfit,
            }
        }
        let Some(side) = &mut self.side else {
            return fd::read_over(self.pipe.as_fd(), &mut self.buffer);
        };
        if side.left == 0 {
            match fd::move_pages(self.pipe.as_fd(), side.writer.as_fd()) {
                Ok(moved) => side.left = moved,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(error),
                Err(_) => {
                    (self.side, self.splice) = (None, Splice::Unfit);
                    return fd::read_over(self.pipe.as_fd(), &mut self.buffer);
                }
            }
        }
        if side.left == 0 {
            return Ok(0);
        }
        let read = fd::read_over(side.reader.as_fd(), &mut self.buffer);
        // Should less come out than went in, the program's own pipe is what counts.
        side.left = side.left.saturating_sub(read.as_ref().map_or(side.left, |length| *length));
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Write;

    fn intake(packets: bool) -> Option<(Intake, File)> {
        let (reader, writer, framing) = if packets {
            let pipe = fd::log_pipe().unwrap();
            (pipe.reader, pipe.writer, pipe.framing)
        } else {
            let (reader, writer) = fd::pipe().unwrap();
            (reader, writer, Framing::Stream)
        };
        fd::set_nonblocking(reader.as_fd()).unwrap();
        let holds = fd::enlarge_pipe(reader.as_fd());
        let known = packets == (framing == Framing::Packets);
        let mut intake = Intake::new(reader, framing, holds);
        while packets && !intake.splice.is_allowed() {
            assert!(!matches!(intake.splice, Splice::Unfit), "splice(2) is not survived");
            std::thread::yield_now();
        }
        known.then(|| (intake, File::from(writer)))
    }

    /// All that one turn finds, each piece by itself; turns are a tenth of a millisecond apart.
    fn taken(intake: &mut Intake, at: &mut Mono) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        *at = at.after(Duration::from_micros(100));
        let _ = intake.due(*at);
        intake.begin();
        while let Taken::Bytes(bytes) = intake.take() {
            all.push(bytes.to_vec());
        }
        all
    }

    #[test]
    fn packets_of_a_flood_stay_packets() {
        let Some((mut intake, mut program)) = intake(true) else { return };
        let mut at = Mono(1);
        let mut flooded = 0;
        for round in 0..100 {
            let writes: Vec<_> =
                (1..14).map(|n| vec![b'a' + n; 1 + usize::from(n) * 300]).collect();
            writes.iter().for_each(|write| program.write_all(write).unwrap());
            assert_eq!(taken(&mut intake, &mut at), writes, "round {round}");
            flooded += usize::from(intake.side.is_some());
        }
        assert!(flooded > 50, "{flooded}");
        // A pause that brings nothing is the last one: what a flood needs is given back.
        while intake.due(at).is_some() {
            at = at.after(Duration::from_millis(1));
            intake.begin();
            assert!(matches!(intake.take(), Taken::Nothing));
        }
        assert!(intake.side.is_none() && !intake.has_more());
        drop(program);
        assert!(matches!(intake.take(), Taken::Closed));
    }

    #[test]
    fn a_packet_behind_a_writer_that_opened_the_pipe_anew_is_whole() {
        let Some((mut intake, mut program)) = intake(true) else { return };
        let path = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&program));
        let mut other = File::options().write(true).open(path).unwrap();
        let text: Vec<u8> =
            (0..READ - 100).map(|n| if n % 99 == 98 { b'\n' } else { b'x' }).collect();
        other.write_all(&text).unwrap();
        program.write_all(&[b'y'; 1_000]).unwrap();
        let all = taken(&mut intake, &mut Mono(1)).concat();
        assert_eq!((all.len(), all.last()), (text.len() + 1_000, Some(&b'y')));
    }

    #[test]
    fn the_end_of_a_program_in_a_flood_loses_nothing() {
        let Some((mut intake, mut program)) = intake(true) else { return };
        let mut at = Mono(1);
        for _ in 0..20 {
            (0..10).for_each(|_| program.write_all(b"line\n").unwrap());
            taken(&mut intake, &mut at);
        }
        (0..9).for_each(|_| program.write_all(b"line\n").unwrap());
        drop(program);
        for _ in 0..9 {
            assert!(matches!(intake.take(), Taken::Bytes(b"line\n")));
        }
        assert!(intake.side.is_some() && matches!(intake.take(), Taken::Closed));
    }

    #[test]
    fn a_long_read_comes_in_slices_of_whole_lines() {
        let (mut intake, mut program) = intake(false).unwrap();
        let text: Vec<u8> =
            (0..60_000usize).map(|n| if n % 130 == 9 { b'\n' } else { b'x' }).collect();
        program.write_all(&text).unwrap();
        let slices = taken(&mut intake, &mut Mono(1));
        let (last, others) = slices.split_last().unwrap();
        assert!(others.iter().all(|slice| slice.ends_with(b"\n") && slice.len() <= SLICE));
        assert!(last.len() <= SLICE && slices.concat() == text);
        // Without an end of a line, too.
        program.write_all(&[b'y'; 9_000]).unwrap();
        let lengths: Vec<_> = taken(&mut intake, &mut Mono(1)).iter().map(Vec::len).collect();
        assert_eq!(lengths, [SLICE, SLICE, 9_000 - 2 * SLICE]);
    }

    #[test]
    fn a_stream_that_trickles_is_left_alone_for_a_moment() {
        let (mut intake, mut program) = intake(false).unwrap();
        let mut at = Mono(1);
        for turn in 0..FLOOD_TURNS {
            at = at.after(Duration::from_micros(5));
            program.write_all(b"line\n").unwrap();
            intake.begin();
            assert!(matches!(intake.take(), Taken::Bytes(b"line\n")), "turn {turn}");
            assert!(matches!(intake.take(), Taken::Nothing));
            if intake.due(at).is_some_and(|due| due > at) {
                return;
            }
        }
        panic!("no pause");
    }

    const FLOOD_TURNS: u32 = 2 * crate::policy::pace::FLOOD;
}
