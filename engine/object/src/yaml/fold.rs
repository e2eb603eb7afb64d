//! What becomes of a folded block (`>`) when go-yaml 3 writes it and reads it again.
//!
//! Kustomize does so with every object before it prints it, and the trip is not without loss: the writer
//! doubles line breaks for the reader to fold, but decides by the wrong character whether to.

/// The text of a folded block after go-yaml 3 wrote and read it.
pub(super) fn refold(text: &str) -> String {
    // Blocks that libyaml cannot write as such are quoted, which loses nothing.
    let spaces_at_line_end = text.ends_with(' ') || text.contains(" \n");
    let special = text
        .chars()
        .any(|c| !matches!(c, '\n' | '\t' | ' '..='~' | '\u{a0}'..='\u{fffd}') || c == '\u{feff}');
    if !text.contains('\n') || spaces_at_line_end || special {
        return text.to_owned();
    }
    // The writer looks at the first character of the whole text, where it means the next one.
    let doubles = !text.trim_start_matches('\n').starts_with([' ', '\t']);
    let body = text.trim_end_matches('\n');
    let trailing = text.len() - body.len();
    let mut out = String::with_capacity(text.len() + 8);
    let mut rest = body;
    // Breaks before the first line are kept one by one.
    let leading = rest.len() - rest.trim_start_matches('\n').len();
    out.push_str(&rest[..leading]);
    rest = &rest[leading..];
    loop {
        let end = rest.find('\n').unwrap_or(rest.len());
        let line = &rest[..end];
        out.push_str(line);
        let after = &rest[end..];
        let next = after.trim_start_matches('\n');
        let breaks = after.len() - next.len();
        let indented = line.starts_with([' ', '\t']);
        if next.is_empty() {
            let written = trailing + usize::from(trailing > 0 && doubles && !indented);
            // Without a hint one break is kept; with `+` all that were written.
            let kept = if trailing > 1 || (trailing == 1 && body.is_empty()) {
                written
            } else {
                trailing
            };
            out.push_str(&"\n".repeat(kept));
            return out;
        }
        let written = breaks + usize::from(doubles && !indented);
        if indented || next.starts_with([' ', '\t']) {
            out.push_str(&"\n".repeat(written));
        } else if written == 1 {
            out.push(' ');
        } else {
            out.push_str(&"\n".repeat(written - 1));
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_blocks_change_as_in_the_reference() {
        for (text, wanted) in [
            ("a b", "a b"),
            ("a\nb\n", "a\nb\n"),
            ("a\n\nb", "a\n\nb"),
            ("a\n  b\nc", "a\n\n  b\nc"),
            (" a\nb\nc", " a\nb c"),
            ("a \nb\n  c", "a \nb\n  c"),
            ("a\n\n", "a\n\n\n"),
            ("a\n\tb\n", "a\n\n\tb\n"),
        ] {
            assert_eq!(refold(text), wanted, "{text:?}");
        }
    }
}
