//! How Parquet is written.
//!
//! Plain and old enough for every reader: data pages version 1, zstd, INT64 microseconds, three-level lists, statistics for
//! each page. The footer holds no Arrow schema: the Parquet types say all.

use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion};

/// A row group has about this many bytes in memory at most, before it is encoded.
pub const ROW_GROUP_BYTES: usize = 128 << 20;

/// The properties of data files.
///
/// # Errors
/// When `zstd_level` is not within 1 to 22.
pub fn writer_properties(zstd_level: i32) -> Result<WriterPropertiesPtr, ParquetError> {
    let properties = WriterProperties::builder()
        .set_created_by(concat!("siltstone ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(WriterVersion::PARQUET_1_0)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(zstd_level)?))
        .set_statistics_enabled(EnabledStatistics::Page)
        .build();
    Ok(properties.into())
}

/// The properties of quarantine and ledger files.
///
/// # Errors
/// Never: the level is one that there is.
pub fn hidden_file_properties() -> Result<WriterProperties, ParquetError> {
    let properties = WriterProperties::builder()
        .set_created_by(concat!("siltstone ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?));
    Ok(properties.build())
}
