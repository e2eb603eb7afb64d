//! Matching paths: Go's `path.Match` for what is copied, doublestar's dialect for what is excluded or unpacked.

use globset::{GlobBuilder, GlobMatcher};

/// A pattern that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadPattern;

/// Whether `pattern` has anything to match beside itself.
pub(crate) fn is_glob(pattern: &str) -> bool {
    pattern.contains(['*', '?', '[', ']'])
}

/// Go's `path.Match`: `*` and `?` stop at slashes, `[a-z]` and `[^a-z]` are classes, a backslash escapes.
///
/// Time is bounded by the product of both lengths.
pub(crate) fn path_match(pattern: &str, path: &str) -> Result<bool, BadPattern> {
    let tokens = tokens(pattern)?;
    let text: Vec<char> = path.chars().collect();
    // Where one may be in the tokens after so much of the text.
    let mut at = vec![false; tokens.len() + 1];
    at[0] = true;
    skip_stars(&tokens, &mut at);
    for c in text {
        let mut next = vec![false; tokens.len() + 1];
        for (position, token) in tokens.iter().enumerate() {
            if !at[position] {
                continue;
            }
            match token {
                Token::Star if c != '/' => next[position] = true,
                Token::Star => {}
                token if token.takes(c) => next[position + 1] = true,
                _ => {}
            }
        }
        skip_stars(&tokens, &mut next);
        at = next;
    }
    Ok(at[tokens.len()])
}

/// A star may stand for nothing.
fn skip_stars(tokens: &[Token], at: &mut [bool]) {
    for position in 0..tokens.len() {
        if at[position] && matches!(tokens[position], Token::Star) {
            at[position + 1] = true;
        }
    }
}

enum Token {
    Star,
    Any,
    One(char),
    Class { negated: bool, ranges: Vec<(char, char)> },
}

impl Token {
    fn takes(&self, c: char) -> bool {
        match self {
            Token::Star => false,
            Token::Any => c != '/',
            Token::One(one) => *one == c,
            Token::Class { negated, ranges } => {
                c != '/' && ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

fn tokens(pattern: &str) -> Result<Vec<Token>, BadPattern> {
    let mut tokens = Vec::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        tokens.push(match c {
            '*' => Token::Star,
            '?' => Token::Any,
            '\\' => Token::One(rest.next().ok_or(BadPattern)?),
            '[' => {
                let negated = rest.next_if_eq(&'^').is_some();
                let mut ranges = Vec::new();
                loop {
                    if rest.peek() == Some(&']') && !ranges.is_empty() {
                        rest.next();
                        break;
                    }
                    let low = class_char(&mut rest)?;
                    let high = match rest.next_if_eq(&'-') {
                        Some(_) => class_char(&mut rest)?,
                        None => low,
                    };
                    ranges.push((low, high));
                }
                Token::Class { negated, ranges }
            }
            other => Token::One(other),
        });
    }
    Ok(tokens)
}

fn class_char(rest: &mut std::iter::Peekable<std::str::Chars<'_>>) -> Result<char, BadPattern> {
    match rest.next() {
        None | Some('-' | ']') => Err(BadPattern),
        Some('\\') => rest.next().ok_or(BadPattern),
        Some(c) => Ok(c),
    }
}

/// A pattern as doublestar reads it: `**` spans directories, `{a,b}` are alternatives.
#[derive(Debug, Clone)]
pub(crate) struct DoubleStar {
    matcher: GlobMatcher,
    /// `a/**` stands for `a` as well.
    base: Option<GlobMatcher>,
}

impl DoubleStar {
    pub fn new(pattern: &str) -> Result<Self, BadPattern> {
        let compile = |pattern: &str| {
            GlobBuilder::new(pattern)
                .literal_separator(true)
                .backslash_escape(true)
                .build()
                .map(|glob| glob.compile_matcher())
                .map_err(|_| BadPattern)
        };
        let base = match pattern.strip_suffix("/**") {
            Some(base) if !base.is_empty() => Some(compile(base)?),
            _ => None,
        };
        Ok(DoubleStar {
            matcher: compile(pattern)?,
            base,
        })
    }

    pub fn matches(&self, path: &str) -> bool {
        self.matcher.is_match(path) || self.base.as_ref().is_some_and(|base| base.is_match(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_match_as_in_go() {
        for (pattern, path, expected) in [
            ("abc", "abc", Ok(true)),
            ("*", "abc", Ok(true)),
            ("*", "a/b", Ok(false)),
            ("a*/b", "abc/b", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/f", Ok(true)),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", Ok(false)),
            ("a/**", "a/b", Ok(true)),
            ("a/**", "a/b/c", Ok(false)),
            ("a/**", "a", Ok(false)),
            ("ab[c-e]", "abd", Ok(true)),
            ("ab[^c]", "abc", Ok(false)),
            ("ab[^e-g]", "abc", Ok(true)),
            ("a?b", "a/b", Ok(false)),
            ("a\\*b", "a*b", Ok(true)),
            ("[]a]", "]", Err(BadPattern)),
            ("[", "a", Err(BadPattern)),
            ("[-]", "-", Err(BadPattern)),
            ("[a-]", "a", Err(BadPattern)),
            ("a[", "a", Err(BadPattern)),
            ("", "", Ok(true)),
        ] {
            assert_eq!(path_match(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let (pattern, path) = ("a*".repeat(300), "a".repeat(2000));
        assert_eq!(path_match(&(pattern + "b"), &path), Ok(false));
    }

    #[test]
    fn double_stars_span_directories() {
        for (pattern, path, expected) in [
            ("**/*.md", "README.md", true),
            ("**/*.md", "a/b/c.md", true),
            ("*.md", "a/b.md", false),
            ("a/**", "a", true),
            ("a/**", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("{a,b}/*.yaml", "b/x.yaml", true),
            ("[!a]", "b", true),
        ] {
            assert_eq!(
                DoubleStar::new(pattern).unwrap().matches(path),
                expected,
                "{pattern} {path}"
            );
        }
        assert!(DoubleStar::new("a{").is_err());
    }
}
