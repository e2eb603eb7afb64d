//! Taking a signed object of git apart, as git does (commit.c, gpg-interface.c): what is signed, and the signature.

use super::SignatureError;

/// A signature and what it was made over.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Signed {
    pub payload: Vec<u8>,
    pub signature: String,
}

/// Lines that begin a signature at the end of a tag.
const BEGINNINGS: [&[u8]; 4] = [
    b"-----BEGIN PGP SIGNATURE-----",
    b"-----BEGIN PGP MESSAGE-----",
    b"-----BEGIN SSH SIGNATURE-----",
    b"-----BEGIN SIGNED MESSAGE-----",
];

/// A commit carries its signature in a header, which is not part of what is signed; nor is one for another hash.
pub(super) fn of_commit(object: &[u8]) -> Result<Signed, SignatureError> {
    let mut payload = Vec::with_capacity(object.len());
    let mut signature: Option<Vec<u8>> = None;
    // What the current line continues: a signature that counts, one that does not, or anything else.
    enum In {
        Ours,
        Other,
        Plain,
    }
    let mut inside = In::Plain;
    let mut rest = object;
    while let Some((line, after)) = split_line(rest) {
        if line == b"\n" {
            break;
        }
        rest = after;
        if let Some(more) = line.strip_prefix(b" ") {
            match inside {
                In::Ours => signature.get_or_insert_default().extend_from_slice(more),
                In::Other => {}
                In::Plain => payload.extend_from_slice(line),
            }
        } else if let Some(first) = line.strip_prefix(b"gpgsig ") {
            if signature.is_some() {
                return Err(SignatureError::Several);
            }
            signature = Some(first.to_vec());
            inside = In::Ours;
        } else if line.starts_with(b"gpgsig-sha256 ") {
            inside = In::Other;
        } else {
            payload.extend_from_slice(line);
            inside = In::Plain;
        }
    }
    payload.extend_from_slice(rest);
    finish(payload, signature)
}

/// A tag carries its signature at the end of its message: from the last line that begins one.
pub(super) fn of_tag(object: &[u8]) -> Result<Signed, SignatureError> {
    let mut at = None;
    let mut place = 0;
    while let Some((line, _)) = split_line(&object[place..]) {
        if BEGINNINGS.iter().any(|beginning| line.starts_with(beginning)) {
            at = Some(place);
        }
        place += line.len();
    }
    match at {
        None => Err(SignatureError::Unsigned),
        Some(at) => finish(object[..at].to_vec(), Some(object[at..].to_vec())),
    }
}

fn finish(payload: Vec<u8>, signature: Option<Vec<u8>>) -> Result<Signed, SignatureError> {
    let signature = signature.ok_or(SignatureError::Unsigned)?;
    let signature = String::from_utf8(signature).map_err(|_| SignatureError::Kind)?;
    Ok(Signed { payload, signature })
}

/// The first line with its line break, and what follows; none at the end.
fn split_line(text: &[u8]) -> Option<(&[u8], &[u8])> {
    if text.is_empty() {
        return None;
    }
    let end = text
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(text.len(), |at| at + 1);
    Some(text.split_at(end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_without_its_signature_headers() {
        let object = b"tree 1\nparent 2\nauthor A\ngpgsig-sha256 X\n Y\ngpgsig -----BEGIN\n line\n \n -----END\nencoding U\n\nsubject\n\ngpgsig no header\n";
        let signed = of_commit(object).unwrap();
        assert_eq!(signed.signature, "-----BEGIN\nline\n\n-----END\n");
        assert_eq!(
            String::from_utf8(signed.payload).unwrap(),
            "tree 1\nparent 2\nauthor A\nencoding U\n\nsubject\n\ngpgsig no header\n"
        );
        assert_eq!(of_commit(b"tree 1\n\ngpgsig x\n"), Err(SignatureError::Unsigned));
        assert_eq!(
            of_commit(b"tree 1\ngpgsig x\ngpgsig y\n\nm"),
            Err(SignatureError::Several)
        );
        assert_eq!(of_commit(b""), Err(SignatureError::Unsigned));
        assert_eq!(of_commit(b"gpgsig \xff\n\n"), Err(SignatureError::Kind));
        // Other headers may go on over several lines too.
        let kept = of_commit(b"mergetag object 1\n type commit\ngpgsig s\n\nm").unwrap();
        assert_eq!(kept.payload, b"mergetag object 1\n type commit\n\nm");
    }

    #[test]
    fn a_tag_before_its_last_signature() {
        let object = b"object 1\ntype commit\n\nmessage\n-----BEGIN PGP SIGNATURE-----\nfirst\n-----BEGIN SSH SIGNATURE-----\nx\n";
        let signed = of_tag(object).unwrap();
        assert_eq!(signed.signature, "-----BEGIN SSH SIGNATURE-----\nx\n");
        assert!(signed.payload.ends_with(b"first\n"));
        assert_eq!(
            of_tag(b"object 1\n\n -----BEGIN PGP SIGNATURE-----"),
            Err(SignatureError::Unsigned)
        );
    }
}
