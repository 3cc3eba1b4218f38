//! The order of keys in free-form maps: letters by code point, digit runs by value.

use std::cmp::Ordering;

/// Compares two keys at their first differing character: two letters by code point; a letter against something else
/// comes first right after a digit and last otherwise; digit runs by value, then by length; else by code point.
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    let same = a.bytes().zip(b.bytes()).take_while(|(a, b)| a == b).count();
    // Characters are equal where all their bytes are.
    let at = a.floor_char_boundary(same);
    let (common, a, b) = (&a[..at], &a[at..], &b[at..]);
    let (Some(first_a), Some(first_b)) = (a.chars().next(), b.chars().next()) else {
        return a.len().cmp(&b.len());
    };
    let (letter_a, letter_b) = (first_a.is_alphabetic(), first_b.is_alphabetic());
    if letter_a && letter_b {
        return first_a.cmp(&first_b);
    }
    if letter_a || letter_b {
        let digits_before = common.chars().next_back().is_some_and(char::is_numeric);
        return match (digits_before, letter_a) {
            (true, true) | (false, false) => Ordering::Less,
            (true, false) | (false, true) => Ordering::Greater,
        };
    }
    // A zero inside a number that has begun is part of that number, not a leading zero.
    let mut number = common.chars().rev().take_while(|c| c.is_numeric());
    let begun = (first_a == '0' || first_b == '0') && number.any(|c| c != '0');
    let (number_a, length_a) = run(a, begun);
    let (number_b, length_b) = run(b, begun);
    number_a
        .cmp(&number_b)
        .then(length_a.cmp(&length_b))
        .then(first_a.cmp(&first_b))
}

/// The value of the digit run that begins here (with a leading one where a number had begun), and its length.
fn run(text: &str, begun: bool) -> (u128, usize) {
    let digits = text.chars().map_while(|c| c.to_digit(10));
    digits.fold((u128::from(begun), 0), |(value, length), digit| {
        let value = value.saturating_mul(10).saturating_add(digit.into());
        (value, length + 1)
    })
}
