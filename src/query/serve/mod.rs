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
mod compatibility;
mod connection;
mod copy;
mod cursors;
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
mod wire;

pub use auth::Secret;
pub use connection::{Door, serve};
pub use tls::read_tls;
