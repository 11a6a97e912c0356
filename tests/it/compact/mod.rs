//! `siltstone compact`: what it takes, what it makes of it, and what it says.

mod any_runs;
mod config;
mod drift;
mod partitions;
mod promotion;
mod reread;
mod runs;
mod shapes;
mod summary;
mod table;
