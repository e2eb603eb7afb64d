//! Text in Go's runes: bytes that are not UTF-8 count as one U+FFFD each.

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// What a byte that is not UTF-8 reads as.
pub(crate) const ERROR: char = char::REPLACEMENT_CHARACTER;

/// The first rune and its length in bytes; an invalid byte is [`ERROR`] and 1; nothing is [`ERROR`] and 0.
pub(crate) fn first(bytes: &[u8]) -> (char, usize) {
    match bytes {
        [] => (ERROR, 0),
        [b, ..] if b.is_ascii() => (char::from(*b), 1),
        [b, ..] => {
            let len = match b {
                0xC2..=0xDF => 2,
                0xE0..=0xEF => 3,
                0xF0..=0xF4 => 4,
                _ => return (ERROR, 1),
            };
            let decoded = bytes
                .get(..len)
                .and_then(|b| std::str::from_utf8(b).ok())
                .and_then(|s| s.chars().next());
            decoded.map_or((ERROR, 1), |c| (c, len))
        }
    }
}

/// Every rune with its length in bytes.
pub(crate) fn iter(bytes: &[u8]) -> impl Iterator<Item = (char, usize)> + '_ {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let (c, len) = first(rest);
        rest = &rest[len..];
        (len > 0).then_some((c, len))
    })
}

/// How many runes there are.
pub(crate) fn count(bytes: &[u8]) -> usize {
    if bytes.is_ascii() {
        bytes.len()
    } else {
        iter(bytes).count()
    }
}

/// Go's `unicode.IsPrint`: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(crate) fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    match c.general_category() {
        GeneralCategory::SpaceSeparator => false,
        category => !matches!(
            group(category),
            GeneralCategoryGroup::Separator | GeneralCategoryGroup::Other
        ),
    }
}

/// Go's `unicode.IsLetter(c) || unicode.IsDigit(c)`.
pub(crate) fn is_letter_or_digit(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric();
    }
    let category = c.general_category();
    category == GeneralCategory::DecimalNumber || group(category) == GeneralCategoryGroup::Letter
}

fn group(category: GeneralCategory) -> GeneralCategoryGroup {
    use GeneralCategory as C;
    match category {
        C::UppercaseLetter | C::LowercaseLetter | C::TitlecaseLetter | C::ModifierLetter | C::OtherLetter => {
            GeneralCategoryGroup::Letter
        }
        C::NonspacingMark | C::SpacingMark | C::EnclosingMark => GeneralCategoryGroup::Mark,
        C::DecimalNumber | C::LetterNumber | C::OtherNumber => GeneralCategoryGroup::Number,
        C::LineSeparator | C::ParagraphSeparator | C::SpaceSeparator => GeneralCategoryGroup::Separator,
        C::Control | C::Format | C::PrivateUse | C::Surrogate | C::Unassigned => GeneralCategoryGroup::Other,
        _ => GeneralCategoryGroup::Punctuation,
    }
}
