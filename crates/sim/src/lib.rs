//! The simulator of Iris: the real core in a world where everything is drawn from one seed.
//!
//! Owners, edges and people are small shells here, written for this world, around the same core that
//! ships; the store is a model of Cassandra with replicas of their own, late and lost writes, and swaps
//! of unknown outcome. A run is a plan and its seed, takes no real time, and is the same run every
//! time. What it wrote down is held to every invariant of `iris-check`.
//!
//! Never tests a shell of the data plane: that is the region's and the cluster's to do.

mod agenda;
mod book;
mod control;
mod edge;
mod faults;
mod network;
mod owner;
mod packet;
mod people;
pub mod plan;
pub mod random;
pub mod run;
pub mod shrink;
mod store;
mod world;

pub use book::Sometimes;
