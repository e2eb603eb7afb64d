//! Strings from the other end: bounded, and free of what could forge a log line or a terminal.

/// Cuts `text` to `max` bytes at a character boundary and removes control characters, line separators and the marks
/// that reverse the direction of text.
pub fn clean(text: &mut String, max: usize) {
    if text.len() > max {
        let mut end = max;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
    }
    if text.chars().any(is_unwanted) {
        text.retain(|c| !is_unwanted(c));
    }
}

/// Whether `text` can be a key or an id as it is: not empty, at most `max` bytes, nothing that [`clean`] would remove.
pub fn is_clean(text: &str, max: usize) -> bool {
    (1..=max).contains(&text.len()) && !text.chars().any(is_unwanted)
}

fn is_unwanted(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, max: usize, expected: &str) {
        let mut cleaned = text.to_owned();
        clean(&mut cleaned, max);
        assert_eq!(cleaned, expected);
        assert!(cleaned.is_empty() || is_clean(&cleaned, max));
    }

    #[test]
    fn texts_are_cut_and_cleaned() {
        check("eu-1", 10, "eu-1");
        check("two\nlines\tand \u{1b}[31mred", 100, "twolinesand [31mred");
        check("äöü", 3, "ä");
        check("a\u{202e}cod.exe", 100, "acod.exe");
        check("\0\0", 100, "");
    }
}
