//! The integration tests: one binary, one module per capability.

mod dump;
mod inits;
mod limits;
mod support;
