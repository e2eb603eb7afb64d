//! The payload of an item, as its sender keeps it.
//!
//! A fleet object is nearly the same on all of its clusters: what differs is a name and some variables. Kept as what
//! differs from one of the others, the payload of a cluster takes little.

use std::sync::Arc;

use bytes::Bytes;

/// Of payloads that differ in a few names hardly anything is left at any level.
const LEVEL: i32 = 1;
/// Below this a delta, with its own head, saves nothing.
const LEAST: usize = 256;
/// Bytes of the length before a delta.
const HEAD: usize = size_of::<u32>();

/// What an item holds, as it is sent.
#[derive(Debug, Clone)]
pub struct Payload(Kept);

#[derive(Debug, Clone)]
enum Kept {
    Whole(Arc<Bytes>),
    /// The length of the bytes ([`HEAD`] bytes, little endian), then zstd, with `base` as the dictionary.
    Alike {
        base: Arc<Bytes>,
        delta: Box<[u8]>,
    },
}

impl Payload {
    /// Keeps what differs from `base`, when that saves most of it.
    pub fn alike(bytes: Bytes, base: &Arc<Bytes>) -> Self {
        if bytes.len() < LEAST || base.len() < LEAST {
            return bytes.into();
        }
        match pack(&bytes, base).filter(|delta| delta.len() * 2 < bytes.len()) {
            // What does not come back as it was is kept whole: the base may look like a trained dictionary.
            Some(delta) if unpack(base, &delta).is_some_and(|back| back == bytes) => {
                let base = base.clone();
                Self(Kept::Alike { base, delta })
            }
            _ => bytes.into(),
        }
    }

    /// The bytes.
    pub fn bytes(&self) -> Bytes {
        match &self.0 {
            Kept::Whole(bytes) => Bytes::clone(bytes),
            Kept::Alike { base, delta } => unpack(base, delta).expect("it was unpacked when it was packed"),
        }
    }

    /// How many bytes.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kept::Whole(bytes) => bytes.len(),
            Kept::Alike { delta, .. } => split(delta).map_or(0, |(length, _)| length),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether only what differs from another is kept.
    pub fn is_delta(&self) -> bool {
        matches!(self.0, Kept::Alike { .. })
    }
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self(Kept::Whole(Arc::new(bytes)))
    }
}

fn pack(bytes: &[u8], base: &[u8]) -> Option<Box<[u8]>> {
    let length = u32::try_from(bytes.len()).ok()?;
    let mut compressor = zstd::bulk::Compressor::with_dictionary(LEVEL, base).ok()?;
    let delta = compressor.compress(bytes).ok()?;
    Some([&length.to_le_bytes()[..], &delta].concat().into())
}

fn unpack(base: &[u8], delta: &[u8]) -> Option<Bytes> {
    let (length, delta) = split(delta)?;
    let mut decompressor = zstd::bulk::Decompressor::with_dictionary(base).ok()?;
    decompressor.decompress(delta, length).ok().map(Bytes::from)
}

/// The length of what is packed, and the packed bytes.
fn split(delta: &[u8]) -> Option<(usize, &[u8])> {
    let (length, delta) = delta.split_first_chunk::<HEAD>()?;
    Some((usize::try_from(u32::from_le_bytes(*length)).ok()?, delta))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(cluster: &str, extra: usize) -> Bytes {
        let variables: String = (0..20)
            .map(|number| format!(r#""variable-{number}":"{}","#, number * 7919))
            .collect();
        format!(
            r#"{{"name":"{cluster}","spec":{{{variables}"cluster":"{cluster}"}},"x":"{}"}}"#,
            "y".repeat(extra)
        )
        .into()
    }

    #[test]
    fn a_payload_like_another_keeps_what_differs() {
        let base = Arc::new(payload("eu-1", 0));
        for other in [payload("eu-2", 0), payload("us-east-10", 900), payload("eu-1", 0)] {
            let kept = Payload::alike(other.clone(), &base);
            assert!(kept.is_delta());
            assert_eq!((kept.bytes(), kept.len()), (other.clone(), other.len()));
            let Kept::Alike { delta, .. } = &kept.0 else {
                unreachable!()
            };
            assert!(delta.len() * 5 < other.len(), "{} of {}", delta.len(), other.len());
        }
    }

    #[test]
    fn what_saves_nothing_is_kept_whole() {
        let noise: Vec<u8> = (0..64_u8)
            .flat_map(|seed| crate::digest::Digest::of_content(&[seed]).to_vec())
            .collect();
        let trained = [&[0x37, 0xa4, 0x30, 0xec][..], &payload("eu-1", 0)].concat();
        let trained = Arc::new(Bytes::from(trained));
        for (bytes, base) in [
            (Bytes::new(), payload("eu-1", 0)),
            (Bytes::from_static(b"short"), payload("eu-1", 0)),
            (payload("eu-1", 0), Bytes::new()),
            (Bytes::from(noise), payload("eu-1", 0)),
        ] {
            let kept = Payload::alike(bytes.clone(), &Arc::new(base));
            assert!(!kept.is_delta());
            assert_eq!((kept.bytes(), kept.len()), (bytes.clone(), bytes.len()));
        }
        // Whatever a base looks like, the bytes come back.
        assert_eq!(Payload::alike(payload("eu-2", 0), &trained).bytes(), payload("eu-2", 0));
    }
}
