//! Any init, driven from outside: see `INIT_UNDER_TEST`.
