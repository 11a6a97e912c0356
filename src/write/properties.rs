//! How Parquet is written.
//!
//! Plain and old enough for every reader unless the configuration says otherwise: data pages version 1, zstd, INT64
//! microseconds, three-level lists, statistics, also for each page where a column has several. The footer holds no Arrow schema: the
//! Parquet types say all.

use parquet::basic::{Compression, Encoding, GzipLevel, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesPtr, WriterVersion};

use crate::config::{Codec, Dictionary, Encodings, FileOptions, PageVersion};

/// The least and largest strings of a column are cut to so many bytes, which is what the log has of them. With many columns
/// they are what a footer consists of.
const STATISTICS_BYTES: usize = 32;

/// The properties of data files, but for what is learned of their columns.
///
/// # Errors
/// When there is no such level of the codec.
pub(super) fn writer_properties(options: &FileOptions) -> Result<WriterPropertiesPtr, ParquetError> {
    let mut builder = WriterProperties::builder()
        .set_created_by(concat!("siltstone ", env!("CARGO_PKG_VERSION")).to_owned())
        .set_writer_version(match options.page_version {
            PageVersion::V1 => WriterVersion::PARQUET_1_0,
            PageVersion::V2 => WriterVersion::PARQUET_2_0,
        })
        .set_compression(compression(options.codec)?)
        .set_data_page_size_limit(options.page_bytes)
        .set_data_page_row_count_limit(options.page_rows)
        .set_dictionary_enabled(options.dictionary != Dictionary::Off)
        .set_statistics_enabled(EnabledStatistics::Page)
        .set_statistics_truncate_length(Some(STATISTICS_BYTES));
    if options.encodings == Encodings::Plain {
        builder = builder.set_encoding(Encoding::PLAIN);
    }
    Ok(builder.build().into())
}

fn compression(codec: Codec) -> Result<Compression, ParquetError> {
    Ok(match codec {
        Codec::None => Compression::UNCOMPRESSED,
        Codec::Snappy => Compression::SNAPPY,
        Codec::Lz4 => Compression::LZ4_RAW,
        Codec::Gzip(level) => Compression::GZIP(GzipLevel::try_new(level)?),
        Codec::Zstd(level) => Compression::ZSTD(ZstdLevel::try_new(level)?),
    })
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
