//! Patterns of names: those of Talos's selectors, and those that a person writes.

/// Whether a text is what a pattern means; `*` stands for any run of characters, as in Talos's selectors.
pub fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether a text is what a person's pattern means: `*` for any run of characters, `?` for any one, case ignored.
pub fn like(pattern: &str, text: &str) -> bool {
    let lower = |text: &str| text.to_lowercase().chars().collect::<Vec<char>>();
    let (pattern, text) = (lower(pattern), lower(text));
    // The lengths of the text's beginnings that the pattern's beginning means.
    let mut met = vec![false; text.len() + 1];
    met[0] = true;
    for sign in pattern {
        let mut any = false;
        let mut next = vec![false; met.len()];
        for (at, place) in next.iter_mut().enumerate() {
            any |= met[at];
            *place = match sign {
                '*' => any,
                sign => at > 0 && met[at - 1] && (sign == '?' || sign == text[at - 1]),
            };
        }
        met = next;
    }
    met[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        };
        check("S1*", "S1234", true);
        check("*34", "S1234", true);
        check("S*2*4", "S1234", true);
        check("S", "S1", false);
        check("", "", true);
        check("*", "", true);
        check("a*a", "a", false);
    }

    #[test]
    fn models_are_patterns() {
        let check = |pattern: &str, text: &str, expected: bool| {
            assert_eq!(like(pattern, text), expected, "{pattern} {text}");
        };
        check("pm9?3*", "PM9A3 MZQL", true);
        check("PM9?3", "PM93", false);
        check("*", "", true);
        check("?", "", false);
        check("a*b*c", "axxbyyc", true);
        check("a*b*c", "axxbyy", false);
    }
}
