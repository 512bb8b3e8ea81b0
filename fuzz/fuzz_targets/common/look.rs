//! One whole look at a program's goroutines, with a count of what is read: it must end, and soon
//! after its time is over.

use goinit::go::image::Image;
use goinit::go::list::Marks;
use goinit::go::memory::{Piece, ReadMemory};
use goinit::go::print::{self, View};
use goinit::go::program::Program;
use goinit::go::subject::{self, Subject};
use goinit::go::summary::Summary;
use goinit::go::walk::Walker;
use goinit::go::{element, walk};
use std::cell::Cell;

/// Bytes read before the look is told that its time is over.
const BUDGET: u64 = 16 << 20;
/// Bytes read at most all the same: locating scans data of up to 256 MB, and a chunk of goroutines
/// is finished once begun.
const MOST: u64 = 512 << 20;
/// Goroutines whose marks are taken.
const MARKS: usize = 10_000;

struct Counted<'m> {
    memory: &'m dyn ReadMemory,
    bytes: Cell<u64>,
}

impl ReadMemory for Counted<'_> {
    fn read_pieces(&self, pieces: &mut [Piece<'_>]) {
        for piece in pieces.iter() {
            // What cannot be read costs a call all the same.
            self.bytes.set(self.bytes.get() + piece.into.len() as u64 + 16);
        }
        self.memory.read_pieces(pieces);
    }
}

/// Looks at `image` in `memory` and says all that can be said; whether it is a program.
pub fn look(image: Image<'_>, memory: &dyn ReadMemory) -> bool {
    let memory = Counted { memory, bytes: Cell::new(0) };
    let Ok(program) = Program::locate(image, &memory) else {
        assert!(memory.bytes.get() < MOST);
        return false;
    };
    memory.bytes.set(0);
    let expired = || memory.bytes.get() > BUDGET;
    let mut walker = Walker::new(&program, &memory);
    walker.compare(Marks::read(&program, &memory, MARKS), 1);
    walker.read(&expired);
    assert!(walker.goroutines().len() <= walk::GOROUTINES);
    let asked = walker.addresses(Subject::Goroutine(1));
    walker.find_holders(&asked, &expired);
    let mut dump = walker.finish();
    dump.elements = element::names(&memory, &program, dump.channels.keys().copied());
    assert!(memory.bytes.get() < MOST, "{} bytes were read", memory.bytes.get());
    let mut text = print::facts(&dump);
    text += &subject::text(&dump, Subject::Goroutine(1), &asked, 0);
    for goroutine in dump.goroutines.iter().take(256) {
        print::goroutine(&mut text, &dump, goroutine, View { system: true, now: 0 });
        assert!(text.len() < 256 << 20);
    }
    let summary = Summary::of(&dump, 0, 50);
    assert!(summary.groups.len() <= 50);
    true
}
