//! The pure modules of siltstone, compiled alone, which takes a fraction of the time of the whole; and what the targets
//! share: the way of windows, and another reading of the same bytes.

#[expect(unused_imports, reason = "other modules use the rest")]
#[path = "../../src/schema/mod.rs"]
pub mod schema;

#[path = "../../src/json/mod.rs"]
pub mod json;

pub mod columns;
pub mod generate;
pub mod oracle;
pub mod windows;
