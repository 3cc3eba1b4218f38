//! The order of keys in free-form maps: letters by code point, digit runs by value.

use std::cmp::Ordering;

/// Compares two keys at their first differing character: two letters by code point; a letter against something else
/// comes first right after a digit and last otherwise; digit runs by value, then by length; else by code point.
pub fn natural_cmp(a: &str, b: &str) -> Ordering {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut digits_before = false;
    for i in 0..a.len().min(b.len()) {
        if a[i] == b[i] {
            digits_before = a[i].is_numeric();
            continue;
        }
        let (letter_a, letter_b) = (a[i].is_alphabetic(), b[i].is_alphabetic());
        if letter_a && letter_b {
            return a[i].cmp(&b[i]);
        }
        if letter_a || letter_b {
            return match (digits_before, letter_a) {
                (true, true) | (false, false) => Ordering::Less,
                (true, false) | (false, true) => Ordering::Greater,
            };
        }
        return differing_numbers(&a, &b, i);
    }
    a.len().cmp(&b.len())
}

/// `i` is the first difference, and no letter stands there on either side.
fn differing_numbers(a: &[char], b: &[char], i: usize) -> Ordering {
    let mut zero_run = false;
    if a[i] == '0' || b[i] == '0' {
        // A zero inside a number that has begun is part of that number, not a leading zero.
        let begun = a[..i]
            .iter()
            .rev()
            .take_while(|c| c.is_numeric())
            .any(|&c| c != '0');
        zero_run = begun;
    }
    let (number_a, end_a) = run(a, i, zero_run);
    let (number_b, end_b) = run(b, i, zero_run);
    number_a
        .cmp(&number_b)
        .then(end_a.cmp(&end_b))
        .then(a[i].cmp(&b[i]))
}

/// The value of the digit run at `i` (with a leading one where a number had begun), and where it ends.
fn run(chars: &[char], i: usize, begun: bool) -> (u128, usize) {
    let mut value = u128::from(begun);
    let mut end = i;
    while let Some(digit) = chars.get(end).and_then(|c| c.to_digit(10)) {
        value = value.saturating_mul(10).saturating_add(digit.into());
        end += 1;
    }
    (value, end)
}
