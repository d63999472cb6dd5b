//! The repository's own tool: it brings the development cluster up and down, looks after it, and
//! gives tests a library for real faults in it ([`cluster`]).
//!
//! Never part of what ships.

mod cache;
pub mod cli;
pub mod cluster;
mod cmd;
mod cql;
mod down;
mod env;
mod images;
mod pki;
pub mod programs;
mod progress;
pub mod release;
mod selftest;
mod status;
mod steps;
mod template;
mod test;
mod tidy;
mod tools;
mod up;
