//! SQL over the protocol of PostgreSQL: the queries of [`SqlSession`](super::SqlSession), and a catalogue that tells clients
//! of its tables.
//!
//! ```text
//! connection --auth--> handler --statement--> a query of tables: SqlSession     --rows--> client
//!                                             a query of pg_catalog: Catalogue
//!                                             settings, transactions: answered here
//! ```

mod answer;
mod auth;
mod catalogue;
mod connection;
mod errors;
mod functions;
mod handler;
mod information;
mod parameters;
mod prepared;
mod rows;
mod settings;
mod statement;
mod stop;
mod tables;
mod text;
mod tls;
mod types;

use std::time::Duration;

pub use auth::Secret;
pub use connection::{Door, serve};
pub use tls::read_tls;

/// What a query may take.
#[derive(Debug, Clone, Copy, Default)]
pub struct Bounds {
    /// After what time it is given up.
    pub timeout: Option<Duration>,
    /// After how many rows its result ends.
    pub max_rows: Option<u64>,
}
