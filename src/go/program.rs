//! A running Go program, located: its tables, its module data, its list of goroutines and the
//! layout of its structures; or the one reason why it cannot be read.

use super::calibrate;
use super::image::{Image, Version};
use super::inittask::Progress;
use super::layout::Layout;
use super::memory::ReadMemory;
use super::module::{self, Module, Raw};
use super::pclntab::Table;
use super::{list, reasons};
use std::fmt;

/// Why a program's goroutines cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No trace of Go in the executable.
    NotGo,
    /// Older than the formats known here.
    TooOld(String),
    /// Go, but its function table has a format that is not known.
    Table(String),
    /// Go, but the runtime's own names are not in the function table.
    Obfuscated,
    /// The module data is not in memory.
    NoModule,
    /// The list of goroutines cannot be found.
    NoList,
    /// The runtime has not started.
    NotStarted,
    /// The structures of this version are not known and could not be measured.
    Layout(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotGo => f.write_str("it is not a Go program: it has no Go function table"),
            Self::TooOld(version) => {
                write!(f, "it was built with {version}, and Go before 1.19 is not supported")
            }
            Self::Table(version) => write!(
                f,
                "its function table has an unknown format ({version}; obfuscated by garble, \
                 packed, or newer than this goinit)"
            ),
            Self::Obfuscated => f.write_str(
                "the runtime's function names are missing from its tables (obfuscated by garble?)",
            ),
            Self::NoModule => f.write_str("the runtime's module data was not found in its memory"),
            Self::NoList => {
                f.write_str("the runtime's list of goroutines was not found in its memory")
            }
            Self::NotStarted => {
                f.write_str("its Go runtime has not started yet; try again in a moment")
            }
            Self::Layout(version) => write!(
                f,
                "the runtime structures of {version} are not known to this goinit and could not \
                 be measured, so it prints nothing rather than something wrong"
            ),
        }
    }
}

/// A located program.
#[derive(Clone, Debug)]
pub struct Program<'a> {
    /// Its executable.
    pub image: Image<'a>,
    /// Its function table.
    pub table: Table<'a>,
    /// Its module data.
    pub module: Module,
    /// Where the fields of its structures are.
    pub layout: Layout,
    /// The layout was measured in this program.
    pub calibrated: bool,
    /// Its Go version, if it says one.
    pub version: Option<Version>,
    /// Its wait reasons.
    pub reasons: Vec<String>,
    /// Plugins are loaded: code outside this program's table is not a mistake.
    pub plugins: bool,
    /// Address of the slice of all goroutines.
    pub all_goroutines: u64,
}

impl<'a> Program<'a> {
    /// Locates the program of `image` in `memory`.
    pub fn locate(image: Image<'a>, memory: &dyn ReadMemory) -> Result<Self, Refused> {
        let version = image.version();
        let Some(mut table) = Table::find(&image) else {
            return Err(match version {
                Some(version) if version.minor < 18 => Refused::TooOld(version.text),
                Some(version) => Refused::Table(version.text),
                None => Refused::NotGo,
            });
        };
        let raw = Raw::find(&image, memory, &table).ok_or(Refused::NoModule)?;
        table.text = raw.text();
        let data = raw.initialised();
        let version = version.or_else(|| Version::in_data(&image, memory, data.clone()));
        let known = version.as_ref().and_then(|version| Layout::of(version.minor));
        let guess = known.unwrap_or_else(Layout::newest);
        let module = raw.module(&image, &table, &guess).ok_or(Refused::NoModule)?;
        if table.function_named("runtime.main").is_none() {
            return Err(Refused::Obfuscated);
        }
        let list =
            module::all_goroutines(&image, memory, &table, &module).ok_or(Refused::NoList)?;
        let mut program = Self {
            reasons: reasons::read(&image, memory, data),
            image,
            table,
            module,
            layout: guess,
            calibrated: false,
            version,
            plugins: known.is_some() && raw.has_next(&guess),
            all_goroutines: list,
        };
        if program.goroutine_list(memory).is_none() {
            return Err(Refused::NotStarted);
        }
        if known.is_none() || !program.is_plausible(memory) {
            program.layout =
                calibrate::measure(&program, memory).ok_or_else(|| program.unknown_layout())?;
            program.calibrated = true;
            if !program.is_plausible(memory) {
                return Err(program.unknown_layout());
            }
        }
        Ok(program)
    }

    fn unknown_layout(&self) -> Refused {
        let version = self.version.as_ref().map(|version| version.text.clone());
        match &self.version {
            Some(version) if version.minor < 19 => Refused::TooOld(version.text.clone()),
            _ => Refused::Layout(version.unwrap_or_else(|| "an unknown Go version".to_owned())),
        }
    }

    /// Whether nearly all of the first goroutines have fields that make sense.
    fn is_plausible(&self, memory: &dyn ReadMemory) -> bool {
        let (sane, tried) = list::sanity(self, memory);
        // A goroutine on its way between two states may fail.
        tried > 0 && sane.saturating_add(1 + tried / 16) >= tried && sane > 0
    }

    /// How far package initialisation is (Go 1.21 and later).
    #[must_use]
    pub fn init_progress(&self, memory: &dyn ReadMemory) -> Option<Progress> {
        Progress::read(memory, &self.table, self.module.init_tasks?)
    }
}
