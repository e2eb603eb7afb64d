//! Patterns with `*`, `?` and `[…]` within one path segment, as Go's `filepath.Match` reads them.

/// Whether a pattern fits a whole text. `*` and `?` do not match `/`; a broken pattern fits nothing.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // Where to go on when what follows the last star does not fit: the star takes one character more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some('*') => {
                while pattern.get(p) == Some(&'*') {
                    p += 1;
                }
                retry = Some((p, t));
                continue;
            }
            None if t == text.len() => return true,
            None => None,
            Some(_) => text.get(t).and_then(|c| one(&pattern, p, *c)),
        };
        if let Some(next) = step {
            p = next;
            t += 1;
            continue;
        }
        match retry {
            Some((after, at)) if at < text.len() && text[at] != '/' => {
                retry = Some((after, at + 1));
                p = after;
                t = at + 1;
            }
            _ => return false,
        }
    }
}

/// Whether a pattern can be read.
pub(crate) fn is_valid(pattern: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let mut p = 0;
    while p < pattern.len() {
        match pattern[p] {
            '*' => p += 1,
            '[' => match class(&pattern, p, 'a') {
                Some((next, _)) => p = next,
                None => return false,
            },
            '\\' if p + 1 == pattern.len() => return false,
            '\\' => p += 2,
            _ => p += 1,
        }
    }
    true
}

/// Where the pattern goes on after matching one character.
fn one(pattern: &[char], p: usize, c: char) -> Option<usize> {
    match pattern[p] {
        '?' => (c != '/').then_some(p + 1),
        '[' => class(pattern, p, c).and_then(|(next, fits)| fits.then_some(next)),
        '\\' => (pattern.get(p + 1) == Some(&c)).then_some(p + 2),
        plain => (plain == c).then_some(p + 1),
    }
}

/// The end of a class that starts at `p`, and whether the character is in it.
fn class(pattern: &[char], p: usize, c: char) -> Option<(usize, bool)> {
    let mut p = p + 1;
    let negated = pattern.get(p) == Some(&'^');
    if negated {
        p += 1;
    }
    let mut found = false;
    let mut first = true;
    loop {
        if pattern.get(p) == Some(&']') && !first {
            return Some((p + 1, found != negated));
        }
        first = false;
        let (low, next) = class_character(pattern, p)?;
        let (high, next) = match pattern.get(next) {
            Some('-') => class_character(pattern, next + 1)?,
            _ => (low, next),
        };
        found |= (low..=high).contains(&c);
        p = next;
    }
}

fn class_character(pattern: &[char], p: usize) -> Option<(char, usize)> {
    match pattern.get(p)? {
        '-' | ']' => None,
        '\\' => Some((*pattern.get(p + 1)?, p + 2)),
        c => Some((*c, p + 1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_as_in_go() {
        for (pattern, text, fits) in [
            ("abc", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", true),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("ab[^e-g]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("a\\*b", "a*b", true),
            ("a[]]b", "a]b", false),
            ("[x-]", "x", false),
            ("", "", true),
            ("*", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
        assert!(!is_valid("[") && !is_valid("a\\") && !is_valid("[x-]") && is_valid("[^a-b]*"));
    }
}
