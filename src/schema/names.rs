//! Column names: safe for Athena, Hive, Trino and Spark at every depth, and the same for every order of arrival.

/// The longest column name, in bytes.
pub const MAX_NAME_BYTES: usize = 255;

/// Folds a JSON key to a column name: lower case, `[a-z0-9_]`, every other character becomes `_`, at most 255 bytes.
///
/// Keys that fold to the same name, and have the same letters, share a column where that loses nothing (see [`crate::schema::resolve()`]).
///
/// ```
/// assert_eq!(siltstone::schema::fold("Order-Id"), "order_id");
/// assert_eq!(siltstone::schema::fold(""), "_");
/// ```
pub fn fold(key: &str) -> String {
    let mut name: String = key
        .chars()
        .map(|c| match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '_') => c,
            _ => '_',
        })
        .collect();
    if name.is_empty() {
        name.push('_');
    }
    if name.len() > MAX_NAME_BYTES {
        let suffix = suffix(key, 0);
        name.truncate(MAX_NAME_BYTES - suffix.len());
        name.push_str(&suffix);
    }
    name
}

/// What the spellings of a key have in common: the name that they fold to; and their letters, where it does not tell these.
///
/// Keys in letters that names cannot have would all fold to one by their length: `имя` and `вес` are other words.
pub(crate) fn spelling(key: &str) -> String {
    if key.is_ascii() {
        return fold(key);
    }
    let letters = key.chars().flat_map(char::to_lowercase).map(|c| if c.is_alphanumeric() { c } else { '_' });
    [&fold(key), "\0", &letters.collect::<String>()].concat()
}

/// `name` made distinct for `key`: a suffix computed from the key's own spelling, another one for each `attempt`.
pub(crate) fn distinct(name: &str, key: &str, attempt: u32) -> String {
    let suffix = suffix(key, attempt);
    let mut distinct = name.to_owned();
    distinct.truncate(MAX_NAME_BYTES - suffix.len());
    distinct.push_str(&suffix);
    distinct
}

/// `_` and eight hex digits of the key's hash, folded to 32 bits; `attempt` zero bytes follow the key.
fn suffix(key: &str, attempt: u32) -> String {
    let hash = fnv1a(&format!("{key}{}", "\0".repeat(attempt as usize)));
    format!("_{:08x}", (hash ^ hash >> 32) as u32)
}

/// The 64-bit FNV-1a hash of a text: the same on every machine and in every version.
pub(crate) fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_ascii_and_bounded() {
        assert_eq!(fold("userName"), "username");
        assert_eq!(fold("a b.c/d"), "a_b_c_d");
        assert_eq!(fold("größe"), "gr__e");
        let long = fold(&"K".repeat(1000));
        assert_eq!(long.len(), MAX_NAME_BYTES);
        assert_ne!(long, fold(&"K".repeat(1001)));
    }

    #[test]
    fn spellings_differ_in_case_and_signs_but_not_in_letters() {
        for (one, other) in [("userId", "userid"), ("order-id", "order id"), ("Größe", "größe"), ("an Ж", "an-ж")]
        {
            assert_eq!(spelling(one), spelling(other));
        }
        for (one, other) in [("имя", "вес"), ("é", "è"), ("é", "_"), ("größe", "gr__e")] {
            assert_ne!(spelling(one), spelling(other));
        }
    }

    #[test]
    fn a_distinct_name_depends_on_the_key_alone() {
        assert_eq!(distinct("tagging", "Tagging", 0), distinct("tagging", "Tagging", 0));
        assert_ne!(distinct("tagging", "Tagging", 0), distinct("tagging", "TAGGING", 0));
        assert_ne!(distinct("tagging", "Tagging", 0), distinct("tagging", "Tagging", 1));
        assert!(distinct(&"x".repeat(255), "X", 0).len() <= MAX_NAME_BYTES);
    }
}
