//! The lexical shape shared by lenient versions and by the versions inside ranges.

/// The pieces of `v1.2.3-pre+meta`, each without its leading punctuation; absent pieces are `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pieces<'a> {
    pub major: &'a str,
    pub minor: Option<&'a str>,
    pub patch: Option<&'a str>,
    pub prerelease: Option<&'a str>,
    pub metadata: Option<&'a str>,
}

/// Takes the longest version from the start of `text`: its pieces and the number of bytes it spans.
///
/// `number` says which bytes make up the numeric segments (digits for versions; also `x`, `X`, `*` and `|` in ranges).
/// An optional piece that does not follow its punctuation at once is not part of the version, so that `1.2.3-` spans `1.2.3`.
pub(crate) fn take(text: &str, number: fn(u8) -> bool) -> Option<(Pieces<'_>, usize)> {
    let bytes = text.as_bytes();
    let mut at = usize::from(bytes.first() == Some(&b'v'));
    let end = span(bytes, at, number);
    if end == at {
        return None;
    }
    let major = &text[at..end];
    at = end;
    let minor = after(text, &mut at, b'.', number);
    let patch = if minor.is_some() {
        after(text, &mut at, b'.', number)
    } else {
        None
    };
    let prerelease = dotted(text, &mut at, b'-');
    let metadata = dotted(text, &mut at, b'+');
    Some((
        Pieces {
            major,
            minor,
            patch,
            prerelease,
            metadata,
        },
        at,
    ))
}

pub(crate) fn is_identifier(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-'
}

fn span(bytes: &[u8], from: usize, class: fn(u8) -> bool) -> usize {
    from + bytes[from..].iter().take_while(|byte| class(**byte)).count()
}

fn after<'a>(text: &'a str, at: &mut usize, punctuation: u8, class: fn(u8) -> bool) -> Option<&'a str> {
    let bytes = text.as_bytes();
    if bytes.get(*at) != Some(&punctuation) {
        return None;
    }
    let start = *at + 1;
    let end = span(bytes, start, class);
    if end == start {
        return None;
    }
    *at = end;
    Some(&text[start..end])
}

/// `-a.b.c` or `+a.b.c`: identifiers joined by dots, none of them empty.
fn dotted<'a>(text: &'a str, at: &mut usize, punctuation: u8) -> Option<&'a str> {
    let start = *at + 1;
    after(text, at, punctuation, is_identifier)?;
    while after(text, at, b'.', is_identifier).is_some() {}
    Some(&text[start..*at])
}
