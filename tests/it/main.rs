//! The integration tests: one binary, one module per capability.

mod corpus;
mod docker;
mod dump;
mod evidence;
mod inits;
mod input;
mod limits;
mod run;
mod stall;
mod start;
mod support;
