//! The integration tests: one binary, one module per capability.

mod inits;
mod limits;
mod support;
