//! Whole arrays and objects, checked against the grammar 64 bytes at a time.
//!
//! Each class of bytes (quotes, commas, digits ...) is one bit for each byte of a block, and so is each rule: which tokens may
//! follow which, that a colon stands behind a key and nowhere else, how numbers look. Only brackets, escapes, and scalars
//! that are more than digits are looked at one by one. What breaks a rule, or is rare, is left to [`Window::value_end`]'s
//! own way, which knows where and what the fault is.
//!
//! Needs AVX2 (or AVX-512) at run time; without, all is left to the other way.

use super::scan::Window;

/// Bytes of a block.
const BLOCK: usize = 64;
/// Deeper nested values are left alone.
const MAX_OPEN: usize = 64;

/// Of each class of bytes: one bit for each byte of a block, the first lowest.
struct Classes {
    quote: u64,
    backslash: u64,
    /// Below 0x20.
    control: u64,
    /// Blank, tab, newline, carriage return.
    space: u64,
    comma: u64,
    colon: u64,
    open_object: u64,
    close_object: u64,
    open_array: u64,
    close_array: u64,
    digit: u64,
    zero: u64,
    /// For each bit whether those below it, and it, are an odd number: 64 of them.
    inside: u64,
}

/// The end of the array or object that begins at `at`, when it is sound, not nested deeper than [`MAX_OPEN`] levels, and this
/// processor can tell; otherwise `None`. `depth` counts the levels around it, of which there may be `max_depth`.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(super) fn sound_end(window: &Window<'_>, at: usize, depth: usize, max_depth: usize) -> Option<usize> {
    x86::sound_end(window, at, depth, max_depth)
}

/// What the blocks before say of the next.
#[derive(Default)]
struct Carry {
    /// All bits are set within a string.
    in_string: u64,
    /// The last byte is a backslash that escapes.
    escaping: u64,
    after_open: u64,
    after_separator: u64,
    after_string: u64,
    after_value: u64,
    before_colon: u64,
    scalar: u64,
    leading_zero: u64,
    /// Where the scalar begins that the block before ends with.
    scalar_start: usize,
    /// Behind the scalars and escapes that were looked at.
    looked: usize,
}

/// The bits of the first bytes that are not in `skip` behind those of `x`.
#[inline(always)]
fn follow(x: u64, carry: &mut u64, skip: u64) -> u64 {
    let start = x << 1 | *carry;
    let (sum, over) = (start & skip).overflowing_add(skip);
    *carry = x >> 63 | u64::from(over);
    (start | sum) & !skip
}

/// The bits behind those of `x`.
#[inline(always)]
fn next(x: u64, carry: &mut u64) -> u64 {
    let start = x << 1 | *carry;
    *carry = x >> 63;
    start
}

/// The bits that a backslash before them escapes.
#[inline(always)]
fn escaped(backslash: u64, carry: &mut u64) -> u64 {
    if backslash == 0 {
        return std::mem::take(carry);
    }
    // Of a run of backslashes, those at its even places escape what follows.
    const EVEN: u64 = 0x5555_5555_5555_5555;
    let backslash = backslash & !*carry;
    let follows = backslash << 1 | *carry;
    let odd_starts = backslash & !EVEN & !follows;
    let (even_sequences, over) = odd_starts.overflowing_add(backslash);
    *carry = u64::from(over);
    (EVEN ^ even_sequences << 1) & follows
}

#[inline(always)]
fn sound_end_by(
    window: &Window<'_>,
    begin: usize,
    depth: usize,
    max_depth: usize,
    classes: impl Fn(&[u8; BLOCK]) -> Classes,
    odd: impl Fn(u64) -> u64,
) -> Option<usize> {
    let mut carry = Carry::default();
    let mut open = 0;
    let mut kinds = 0_u64;
    let mut at = begin;
    loop {
        let block = window.block(at)?;
        let class = classes(block);
        let escaped = escaped(class.backslash, &mut carry.escaping);
        let quote = class.quote & !escaped;
        let inside = odd(quote) ^ carry.in_string;
        carry.in_string = ((inside as i64) >> 63) as u64;
        let opening = quote & inside;
        let outside = !(inside | quote);

        let space = class.space & outside;
        let (comma, colon) = (class.comma & outside, class.colon & outside);
        let (open_object, close_object) = (class.open_object & outside, class.close_object & outside);
        let (open_array, close_array) = (class.open_array & outside, class.close_array & outside);
        let (opens, closes) = (open_object | open_array, close_object | close_array);
        let tokens = comma | colon | opens | closes;
        let scalar = outside & !tokens & !space;
        let before = scalar << 1 | carry.scalar;
        let scalar_starts = scalar & !before;

        // Brackets, one by one: which are open, and where there is an object around.
        let mut in_object = if kinds & 1 == 1 { u64::MAX } else { 0 };
        let mut end = None;
        let mut brackets = opens | closes;
        while brackets != 0 {
            let place = brackets.trailing_zeros();
            brackets &= brackets - 1;
            if opens >> place & 1 == 1 {
                if depth + open >= max_depth || open >= MAX_OPEN {
                    return None;
                }
                open += 1;
                kinds = kinds << 1 | (open_object >> place & 1);
            } else {
                if kinds & 1 != close_object >> place & 1 {
                    return None;
                }
                open -= 1;
                kinds >>= 1;
                if open == 0 {
                    end = Some(place);
                    break;
                }
            }
            let rest = u64::MAX << place;
            in_object = if kinds & 1 == 1 { in_object | rest } else { in_object & !rest };
        }
        let valid = end.map_or(u64::MAX, |place| u64::MAX >> (63 - place));

        // What follows what.
        let values = opening | scalar_starts | opens;
        let closing = quote & !inside;
        let after_open = follow(opens, &mut carry.after_open, space);
        let after_separator = follow(comma | colon, &mut carry.after_separator, space);
        let after_string = follow(closing, &mut carry.after_string, space);
        let ends = next(closes, &mut carry.after_value.clone());
        let _ = ends;
        let after_value = {
            let start = closes << 1 | carry.after_value & 1 | before & !scalar;
            let (sum, over) = (start & space).overflowing_add(space);
            carry.after_value = closes >> 63 | u64::from(over);
            (start | sum) & !space
        };
        let names = open_object | comma & in_object;
        let before_colon = follow(names, &mut carry.before_colon, !tokens);
        let wrong = after_separator & !values
            | after_open & !(values | closes)
            | after_string & !(comma | colon | closes)
            | after_value & !(comma | closes)
            | before_colon & !(colon | closes & after_open)
            | colon & !before_colon
            | class.control & inside
            | class.backslash & !inside;
        let zeros = next(class.zero & scalar_starts, &mut carry.leading_zero) & class.digit & scalar;
        if (wrong | zeros) & valid != 0 {
            return None;
        }

        // Escapes, one by one.
        let mut escapes = class.backslash & !escaped & valid;
        while escapes != 0 {
            let place = at + escapes.trailing_zeros() as usize;
            escapes &= escapes - 1;
            if place < carry.looked {
                continue;
            }
            match window.byte(place + 1) {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                b'u' => carry.looked = window.unicode_escape(place).ok()?.1,
                _ => return None,
            }
        }

        // Scalars that are more than digits, one by one.
        let mut special = scalar & !class.digit & valid;
        while special != 0 {
            let place = special.trailing_zeros();
            let starts = scalar_starts & (u64::MAX >> (63 - place));
            let start = if starts == 0 { carry.scalar_start } else { at + 63 - starts.leading_zeros() as usize };
            let stop = if at + (place as usize) < carry.looked { carry.looked } else { scalar_end(window, start)? };
            carry.looked = stop;
            let passed = stop - at;
            if passed >= BLOCK {
                break;
            }
            special &= u64::MAX << passed;
        }
        if let Some(place) = end {
            return Some(at + place as usize + 1);
        }
        carry.scalar = scalar >> 63;
        if scalar_starts != 0 {
            carry.scalar_start = at + 63 - scalar_starts.leading_zeros() as usize;
        }
        at += BLOCK;
    }
}

/// The end of the scalar that begins at `at` and is no string, if it is sound.
#[inline(always)]
fn scalar_end(window: &Window<'_>, at: usize) -> Option<usize> {
    let end = match window.byte(at) {
        b't' => window.literal_end(at, b"true"),
        b'f' => window.literal_end(at, b"false"),
        b'n' => window.literal_end(at, b"null"),
        _ => window.number_end(at).map(|(end, _)| end),
    };
    let end = end.ok()?;
    matches!(window.byte(end), b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t').then_some(end)
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "see the measurements in docs/performance.md")]
mod x86 {
    use std::arch::x86_64::*;

    static NO512: std::sync::LazyLock<bool> = std::sync::LazyLock::new(|| std::env::var_os("NO512").is_some());
    use super::{BLOCK, Classes, Window, sound_end_by};

    #[inline]
    pub(super) fn sound_end(window: &Window<'_>, at: usize, depth: usize, max_depth: usize) -> Option<usize> {
        if is_x86_feature_detected!("avx512bw") && is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("bmi2") && !*NO512 {
            return unsafe { sound_end_avx512(window, at, depth, max_depth) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("bmi2") {
            return unsafe { sound_end_avx2(window, at, depth, max_depth) };
        }
        None
    }

    #[target_feature(enable = "avx512f,avx512bw,pclmulqdq,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn sound_end_avx512(window: &Window<'_>, at: usize, depth: usize, max_depth: usize) -> Option<usize> {
        let classes = |block: &[u8; BLOCK]| {
            let x = unsafe { std::mem::transmute::<[u8; 64], __m512i>(*block) };
            let is = |byte: u8| _mm512_cmpeq_epi8_mask(x, _mm512_set1_epi8(byte as i8));
            let blanks = _mm512_broadcast_i32x4(_mm_setr_epi8(32, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 9, 10, 0x7f, 0x7f, 13, 0x7f, 0x7f));
            Classes {
                quote: is(b'"'),
                backslash: is(b'\\'),
                control: _mm512_cmplt_epu8_mask(x, _mm512_set1_epi8(0x20)),
                space: _mm512_cmpeq_epi8_mask(x, _mm512_shuffle_epi8(blanks, x)),
                comma: is(b','),
                colon: is(b':'),
                open_object: is(b'{'),
                close_object: is(b'}'),
                open_array: is(b'['),
                close_array: is(b']'),
                digit: _mm512_cmplt_epu8_mask(_mm512_sub_epi8(x, _mm512_set1_epi8(0x30)), _mm512_set1_epi8(10)),
                zero: is(b'0'),
                inside: 0,
            }
        };
        let odd = |bits: u64| {
            _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits as i64), _mm_set1_epi8(-1))) as u64
        };
        sound_end_by(window, at, depth, max_depth, classes, odd)
    }

    #[target_feature(enable = "avx2,pclmulqdq,bmi1,bmi2,lzcnt,popcnt")]
    pub(super) fn sound_end_avx2(window: &Window<'_>, at: usize, depth: usize, max_depth: usize) -> Option<usize> {
        let classes = |block: &[u8; BLOCK]| {
            let [a, b] = unsafe { std::mem::transmute::<[u8; 64], [__m256i; 2]>(*block) };
            let mask = |a: __m256i, b: __m256i| {
                u64::from(_mm256_movemask_epi8(a) as u32) | u64::from(_mm256_movemask_epi8(b) as u32) << 32
            };
            let is = |byte: u8| {
                let byte = _mm256_set1_epi8(byte as i8);
                mask(_mm256_cmpeq_epi8(a, byte), _mm256_cmpeq_epi8(b, byte))
            };
            let at_most = |a: __m256i, b: __m256i, most: u8| {
                let most = _mm256_set1_epi8(most as i8);
                mask(_mm256_cmpeq_epi8(_mm256_max_epu8(a, most), most), _mm256_cmpeq_epi8(_mm256_max_epu8(b, most), most))
            };
            let blanks = _mm256_broadcastsi128_si256(_mm_setr_epi8(32, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 0x7f, 9, 10, 0x7f, 0x7f, 13, 0x7f, 0x7f));
            let zeros = _mm256_set1_epi8(0x30);
            Classes {
                quote: is(b'"'),
                backslash: is(b'\\'),
                control: at_most(a, b, 0x1f),
                space: mask(_mm256_cmpeq_epi8(a, _mm256_shuffle_epi8(blanks, a)), _mm256_cmpeq_epi8(b, _mm256_shuffle_epi8(blanks, b))),
                comma: is(b','),
                colon: is(b':'),
                open_object: is(b'{'),
                close_object: is(b'}'),
                open_array: is(b'['),
                close_array: is(b']'),
                digit: at_most(_mm256_sub_epi8(a, zeros), _mm256_sub_epi8(b, zeros), 9),
                zero: is(b'0'),
                inside: 0,
            }
        };
        let odd = |bits: u64| {
            _mm_cvtsi128_si64(_mm_clmulepi64_si128::<0>(_mm_set_epi64x(0, bits as i64), _mm_set1_epi8(-1))) as u64
        };
        sound_end_by(window, at, depth, max_depth, classes, odd)
    }
}
