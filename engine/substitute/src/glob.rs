//! Glob matching for `${v#pattern}` and its siblings.
//!
//! `*`, `?`, `[a-z]`, `[^a-z]` and `\x`; unlike in a shell, `!` does not negate a class.

/// Cuts the shortest or longest prefix that matches; all of `text` when none does.
pub(crate) fn trim_prefix<'a>(text: &'a str, pattern: &str, longest: bool) -> &'a str {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut ends: Vec<usize> = boundaries(text).collect();
    if longest {
        ends.reverse();
    }
    ends.into_iter()
        .find(|end| matches(&pattern, &text[..*end]))
        .map_or(text, |end| &text[end..])
}

/// Cuts the shortest or longest suffix that matches; all of `text` when none does.
pub(crate) fn trim_suffix<'a>(text: &'a str, pattern: &str, longest: bool) -> &'a str {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut starts: Vec<usize> = boundaries(text).collect();
    if !longest {
        starts.reverse();
    }
    starts
        .into_iter()
        .find(|start| matches(&pattern, &text[*start..]))
        .map_or(text, |start| &text[..start])
}

fn boundaries(text: &str) -> impl Iterator<Item = usize> {
    text.char_indices()
        .map(|(index, _)| index)
        .chain(std::iter::once(text.len()))
}

/// Whether the whole of `text` matches. Iterative with one star to come back to, so the time is at most
/// pattern × text.
fn matches(pattern: &[char], text: &str) -> bool {
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, t));
            p += 1;
            continue;
        }
        if let Some(next) = step(pattern, p, text[t]) {
            p = next;
            t += 1;
            continue;
        }
        let Some((star_p, star_t)) = star else {
            return false;
        };
        star = Some((star_p, star_t + 1));
        p = star_p + 1;
        t = star_t + 1;
    }
    pattern[p..].iter().all(|c| *c == '*')
}

/// Matches one character against the pattern element at `p`; the position after the element, if it does.
fn step(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern.get(p)? {
        '?' => Some(p + 1),
        '\\' => match pattern.get(p + 1) {
            Some(escaped) => (*escaped == c).then_some(p + 2),
            None => None,
        },
        '[' => class(pattern, p + 1, c),
        literal => (*literal == c).then_some(p + 1),
    }
}

fn class(pattern: &[char], mut p: usize, c: char) -> Option<usize> {
    let negated = pattern.get(p) == Some(&'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    let mut first = true;
    loop {
        let mut low = *pattern.get(p)?;
        if low == ']' && !first {
            return (found != negated).then_some(p + 1);
        }
        first = false;
        if low == '\\' {
            p += 1;
            low = *pattern.get(p)?;
        }
        p += 1;
        let mut high = low;
        if pattern.get(p) == Some(&'-') && pattern.get(p + 1).is_some_and(|c| *c != ']') {
            high = pattern[p + 1];
            p += 2;
        }
        found |= (low..=high).contains(&c);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_match(pattern: &str, text: &str, expected: bool) {
        let pattern: Vec<char> = pattern.chars().collect();
        assert_eq!(matches(&pattern, text), expected, "{pattern:?} on {text:?}");
    }

    #[test]
    fn globs() {
        check_match("", "", true);
        check_match("*", "", true);
        check_match("a*c", "abbc", true);
        check_match("a*c", "abb", false);
        check_match("a?c", "aéc", true);
        check_match("[a-c]x", "bx", true);
        check_match("[^a-c]x", "bx", false);
        check_match("[!a]", "!", true);
        check_match("[!a]", "b", false);
        check_match("\\*", "*", true);
        check_match("\\*", "x", false);
        check_match("[a", "a", false);
        check_match("a\\", "a", false);
    }

    #[test]
    fn many_stars_do_not_blow_up() {
        let text = "a".repeat(2_000);
        check_match(&"*a".repeat(50), &text, true);
        check_match(&format!("{}b", "*a".repeat(50)), &text, false);
    }
}
