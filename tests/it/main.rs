//! The integration tests: one binary, one module per capability.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::wildcard_enum_match_arm,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a test that cannot go on fails; the allowances of clippy.toml end at test functions"
)]

mod anomaly;
mod copies;
mod corpus;
mod docker;
mod dump;
mod evidence;
mod faults;
mod formats;
mod hang;
mod inits;
mod input;
mod inspect;
mod interleave;
mod layouts;
mod limits;
mod probe;
mod report;
mod run;
mod schema;
mod session;
mod sink;
mod soak;
mod stall;
mod start;
mod support;
mod tidy;
mod torn;
mod verdict;
mod watch;
