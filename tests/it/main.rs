//! The integration tests: one binary, one module per capability.

mod corpus;
mod dump;
mod evidence;
mod inits;
mod limits;
mod support;
