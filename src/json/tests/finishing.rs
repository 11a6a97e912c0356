//! From columns to batches: what is asked for again, what is widened, and what readers of files can take.

use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use super::*;
use crate::schema::{Forced, Kind, MAX_COLUMN_DEPTH, Rule};

#[test]
fn columns_as_deep_as_they_go_survive_parquet() {
    // A dictionary takes two levels of a file's schema.
    let mut dictionaries = read("{\"v\":1}").observation;
    for _ in 1..MAX_COLUMN_DEPTH {
        let value = std::mem::take(dictionaries.fields.get_mut("v").unwrap());
        let outer = dictionaries.fields.get_mut("v").unwrap();
        outer.tally.add(Kind::Object);
        outer.dictionary = Some(Box::new(value));
    }
    for (open, close, seed) in [("{\"k\":", "}", None), ("[", "]", None), ("{\"k\":", "}", Some(dictionaries))] {
        let levels = MAX_COLUMN_DEPTH - 1;
        let text = format!("{{\"v\":{}1{}}}", open.repeat(levels), close.repeat(levels));
        let seed = seed.unwrap_or_else(|| read(&text).observation);
        let (batch, _) = columns_of(&DecodeOptions::default(), &[text.as_bytes()], &[usize::MAX], &seed);
        let mut file = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap().build().unwrap();
        assert_eq!(reader.next().unwrap().unwrap(), batch);
        assert_eq!(texts(&batch, &resolve(&seed, &[])), [text]);
    }
}

/// The batch of a decoder that knew nothing, as the columns that follow from `seed`.
fn finish(text: &str, seed: &str) -> Result<Vec<String>, FinishError> {
    let fields = resolve(&read(seed).observation, &[]);
    let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
    let mut result = None;
    feed(&mut decoder, &[text.as_bytes()], &[usize::MAX], |decoder, _, _| {
        result = Some(decoder.finish(&fields, &arrow_schema(&fields)));
    });
    result.unwrap().map(|batch| texts(&batch, &fields))
}

#[test]
fn narrower_columns_are_widened_where_the_value_tells_its_text() {
    for (text, seed, rows) in [
        ("{\"v\":1}", "{\"v\":9223372036854775808}", "{\"v\":1}"),
        ("{\"v\":1}", "{\"v\":0.5}", "{\"v\":1.0}"),
        ("{\"v\":-7}", "{\"v\":\"x\"}", "{\"v\":\"-7\"}"),
        ("{\"v\":9223372036854775808}", "{\"v\":\"x\"}", "{\"v\":\"9223372036854775808\"}"),
        ("{\"v\":true}", "{\"v\":\"x\"}", "{\"v\":\"true\"}"),
        ("{\"v\":\"2025-02-03\"}", "{\"v\":\"x\"}", "{\"v\":\"2025-02-03\"}"),
        ("{\"v\":\"2025-02-03\"}", "{\"v\":[1]}{\"v\":1}", "{\"v\":\"2025-02-03\"}"),
        ("{\"v\":[1,null]}", "{\"v\":[\"x\"]}", "{\"v\":[\"1\",null]}"),
        ("{\"v\":{\"a\":1}}", "{\"v\":{\"a\":0.5,\"b\":1}}", "{\"v\":{\"a\":1.0}}"),
        ("{\"v\":null}", "{\"v\":[{\"a\":1}]}", "{}"),
        ("{}", "{\"v\":[{\"a\":1}],\"w\":{\"x\":\"2025-02-03\"}}", "{}"),
    ] {
        assert_eq!(finish(text, seed).unwrap(), [rows], "{text} as the columns of {seed}");
    }
}

#[test]
fn where_the_value_does_not_tell_its_text_the_records_are_asked_for_again() {
    for (text, seed) in [
        ("{\"v\":1.50}", "{\"v\":\"x\"}"),
        ("{\"v\":\"2025-02-03T04:05:06+01:00\"}", "{\"v\":\"x\"}"),
        ("{\"v\":\"x\"}", "{\"v\":[1]}{\"v\":1}"),
        ("{\"v\":{\"a\":1}}", "{\"v\":[1]}{\"v\":1}"),
        ("{\"v\":[]}", "{\"v\":[1]}{\"v\":1}"),
        ("{\"v\":[{\"a\":[0.5]}]}", "{\"v\":[{\"a\":[\"x\"]}]}"),
    ] {
        assert!(matches!(finish(text, seed), Err(FinishError::Redo)), "{text} as the columns of {seed}");
    }
}

#[test]
fn stored_values_are_given_in_any_wider_type() {
    // What a promotion makes of a column whose raw text is no longer at hand: by other types than the values have.
    let rows_as = |text: &str, ty: &Type| {
        let read = read(text);
        let all = [text.as_bytes()];
        let (batch, _) = columns_of(&DecodeOptions::default(), &all, &[usize::MAX], &read.observation);
        let after = [field("v", ty.clone())];
        texts(&reshape(&batch, &read.fields, &after, &arrow_schema(&after)).unwrap(), &after)
    };
    let map = |value| Type::Map(Box::new(value));
    for (text, ty, row) in [
        ("{\"v\":1.50}", Type::Text, r#"{"v":"1.5"}"#),
        ("{\"v\":1e300}", Type::Json, r#"{"v":1e300}"#),
        ("{\"v\":\"2025-02-03 04:05:06\"}", Type::Text, r#"{"v":"2025-02-03T04:05:06"}"#),
        ("{\"v\":\"2025-02-03T04:05:06+01:00\"}", Type::Json, r#"{"v":"2025-02-03T03:05:06Z"}"#),
        ("{\"v\":\"2025-02-03\"}", Type::Json, r#"{"v":"2025-02-03"}"#),
        ("{\"v\":\"a\\\"b\"}", Type::Json, r#"{"v":"a\"b"}"#),
        ("{\"v\":true}", Type::Json, r#"{"v":true}"#),
        ("{\"v\":{\"A b\":[1,null],\"c\":null}}", Type::Json, r#"{"v":{"A b":[1,null]}}"#),
        ("{\"v\":{\"A b\":[1,null],\"c\":null}}", map(list(Type::Double)), r#"{"v":{"A b":[1.0,null]}}"#),
        ("{\"v\":{\"a\":1,\"B\":2.5}}", map(Type::Text), r#"{"v":{"a":"1","B":"2.5"}}"#),
        ("{\"v\":[{\"a\":1},{},null]}", list(map(Type::Int64)), r#"{"v":[{"a":1},{},null]}"#),
        ("{\"v\":[{\"a\":1},{},null]}", list(Type::Json), r#"{"v":[{"a":1},{},null]}"#),
        ("{\"v\":[[1],[]]}", Type::Json, r#"{"v":[[1],[]]}"#),
    ] {
        assert_eq!(rows_as(&format!("{{}}{text}"), &ty), ["{}", row], "{text} as {ty:?}");
    }
    let outcome = read("{\"v\":\"x\"}");
    let (batch, _) = columns_of(&DecodeOptions::default(), &[b"{\"v\":\"x\"}"], &[usize::MAX], &outcome.observation);
    let narrower = [field("v", Type::Int64)];
    assert!(reshape(&batch, &outcome.fields, &narrower, &arrow_schema(&narrower)).is_err());
}

#[test]
fn a_batch_is_given_once() {
    let fields = [field("a", Type::Int64)];
    let schema = arrow_schema(&fields);
    let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
    feed(&mut decoder, &[b"{\"a\":1}"], &[usize::MAX], |decoder, _, _| {
        assert_eq!(decoder.finish(&fields, &schema).unwrap().num_rows(), 1);
        assert!(matches!(decoder.finish(&fields, &schema), Err(FinishError::Redo)));
    });
    feed(&mut decoder, &[b"{\"a\":1}{}"], &[usize::MAX], |decoder, _, _| {
        assert_eq!(decoder.finish(&fields, &schema).unwrap().num_rows(), 2);
    });
}

#[test]
fn a_decoder_is_used_again_for_other_batches() {
    let mut decoder = Decoder::new(&DecodeOptions::default(), &Observation::default());
    let texts_of =
        [r#"{"a":1,"b":{"c":[1,2]},"d":"x"}{"a":2}"#, r#"{}{"b":{"c":[]}}"#, r#"{"a":3,"b":{"c":[3]},"e":{"f":true}}"#];
    let mut observed = Observation::default();
    for text in texts_of {
        feed(&mut decoder, &[text.as_bytes()], &[usize::MAX], |decoder, _, _| {
            let fields = resolve(&decoder.observe(), &[]);
            let batch = decoder.finish(&fields, &arrow_schema(&fields)).unwrap();
            assert_eq!(texts(&batch, &fields).concat(), text);
        });
        observed.merge(&read(text).observation);
        assert_eq!(decoder.observe(), observed, "a decoder sees what one decoder for each batch sees");
    }
}

#[test]
fn only_projected_keys_are_decoded_but_all_are_checked() {
    let text = "{\"a\":1,\"b\":{\"c\":[1, \"x\"]},\"new\":[1],\"a\":2}\n{\"b\":[\"\\ud800\"]}\n{\"new\":[}\n{\"b\":7,\"d\":\"x\"}\n";
    let seed = read(text).observation;
    let fields: Vec<Field> =
        resolve(&seed, &[]).into_iter().filter(|field| ["a", "d"].contains(&&*field.name)).collect();
    for sizes in [&[usize::MAX][..], &[5]] {
        let mut decoder = Decoder::new(&DecodeOptions::default(), &seed);
        decoder.project(&fields);
        let (mut rows, mut rejects) = (Vec::new(), 0);
        feed(&mut decoder, &[text.as_bytes()], sizes, |decoder, decoded, _| {
            rejects += decoded.rejects.len();
            rows.extend(texts(&decoder.finish(&fields, &arrow_schema(&fields)).unwrap(), &fields));
        });
        assert_eq!((rows.as_slice(), rejects), (&["{\"a\":2}".to_owned(), "{\"d\":\"x\"}".to_owned()][..], 2));
    }
}

#[test]
fn what_columns_refuse_that_are_not_projected_is_rejected_too() {
    let mut rule = Rule::default();
    rule.at_path("a").unwrap().ty = Some(Forced::Bigint);
    rule.at_path("o.b[]").unwrap().ty = Some(Forced::Date);
    rule.at_path("unseen").unwrap().ty = Some(Forced::Date);
    let options = DecodeOptions { rule, ..DecodeOptions::default() };
    let text = "{\"a\":1,\"c\":2}\n{\"a\":\"x\",\"c\":3}\n{\"o\":{\"b\":[1]},\"c\":4}\n{\"unseen\":5,\"c\":6}\n{\"o\":{},\"c\":7}\n";
    let mut whole = Decoder::new(&options, &Observation::default());
    let mut rejects = Vec::new();
    feed(&mut whole, &[text.as_bytes()], &[usize::MAX], |_, decoded, _| rejects.clone_from(&decoded.rejects));
    assert_eq!(rejects.len(), 3);
    let seed = whole.observe();
    let mut decoder = Decoder::new(&options, &seed);
    let fields = [field("c", Type::Int64)];
    decoder.project(&fields);
    feed(&mut decoder, &[text.as_bytes()], &[usize::MAX], |decoder, decoded, _| {
        assert_eq!(decoded.rejects, rejects);
        let batch = decoder.finish(&fields, &arrow_schema(&fields)).unwrap();
        assert_eq!(texts(&batch, &fields), [r#"{"c":2}"#, r#"{"c":7}"#]);
    });
}
