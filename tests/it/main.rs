//! The integration tests: one binary, one module per capability.

mod corpus;
mod inits;
mod limits;
mod support;
