//! Fetching artifacts: what the hub may serve, and what the agent believes.
//!
//! A chunk's digest is no permission. A request names a manifest, and is served only if that manifest is in the desired
//! set of the cluster that asks, and the chunk in the manifest; otherwise a spoke could read what others receive, as
//! soon as it knew or guessed a digest.

use bytes::Bytes;
use prost::Message;

use crate::digest::Digest;
use crate::frame::{MAX_CHUNK, MAX_MANIFEST};
use crate::wire::{ChunkEncoding, ChunkReply, ChunkRequest, FetchRefused, Manifest, ManifestReply, RefusalCode};

/// Compression level: chunks are compressed once per request, and a CPU second matters more here than a per cent.
const LEVEL: i32 = 3;
/// The level on a metered line, where bytes cost more than the hub's time: 256 KiB take some 15 ms.
const METERED_LEVEL: i32 = 12;

/// A dictionary is at most this long: a chunk's place in an older file, and some around it.
pub const MAX_DICTIONARY: usize = 512 * 1024;

/// How content is made smaller.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Packing<'a> {
    /// Bytes cost more than time.
    pub metered: bool,
    /// What the other end holds that is likely to be alike; longer ones than [`MAX_DICTIONARY`] are not used.
    pub dictionary: Option<&'a [u8]>,
}

/// What the hub knows about the cluster that asks.
pub trait ChunkPolicy {
    /// Whether the cluster's current desired set refers to this manifest.
    fn holds_manifest(&self, manifest: &Digest) -> bool;
    /// Whether the chunk is in that manifest.
    fn has_chunk(&self, manifest: &Digest, chunk: &Digest) -> bool;
}

/// A fetch that failed, at either end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// The hub refused it.
    #[error("the hub refuses: {message}")]
    Refused {
        /// For the program.
        code: RefusalCode,
        /// For people.
        message: String,
    },
    /// Another digest than was asked for.
    #[error("reply is for {actual}, asked for was {asked}")]
    OtherDigest {
        /// What was asked for.
        asked: Digest,
        /// What came.
        actual: Digest,
    },
    /// The data is not what its digest says.
    #[error("content of {digest} does not have this digest")]
    Corrupt {
        /// What was asked for.
        digest: Digest,
    },
    /// The data cannot be unpacked, or unpacks to another size than stated.
    #[error("data of {digest} cannot be unpacked: {why}")]
    Unpack {
        /// What was asked for.
        digest: Digest,
        /// Why.
        why: &'static str,
    },
}

/// Checks a request for chunks against the policy; the digests in order, or the refusal to send.
pub fn authorise_chunks(request: &ChunkRequest, policy: &impl ChunkPolicy) -> Result<Vec<Digest>, FetchRefused> {
    let manifest = authorise_manifest(&request.manifest_digest, policy)?;
    let digest = |bytes: &Vec<u8>| Digest::from_slice(bytes).ok_or_else(|| refused_bad("digest of a chunk"));
    let digests: Vec<Digest> = request.digests.iter().map(digest).collect::<Result<_, _>>()?;
    match digests.iter().find(|chunk| !policy.has_chunk(&manifest, chunk)) {
        None => Ok(digests),
        Some(chunk) => {
            let message = format!("chunk {chunk} is not in manifest {manifest}");
            Err(FetchRefused {
                code: RefusalCode::NotInManifest as i32,
                message,
            })
        }
    }
}

/// Checks a request for a manifest against the policy; its digest, or the refusal to send.
pub fn authorise_manifest(manifest: &[u8], policy: &impl ChunkPolicy) -> Result<Digest, FetchRefused> {
    let manifest = Digest::from_slice(manifest).ok_or_else(|| refused_bad("digest of the manifest"))?;
    if policy.holds_manifest(&manifest) {
        return Ok(manifest);
    }
    // The same words whether it exists or not.
    let message = format!("manifest {manifest} is not in the desired set of this cluster");
    Err(FetchRefused {
        code: RefusalCode::NotDesired as i32,
        message,
    })
}

/// A chunk as it is sent, compressed when that makes it smaller.
///
/// # Panics
/// Never; content larger than [`MAX_CHUNK`] is refused by the receiver.
pub fn pack_chunk(digest: &Digest, content: &Bytes, packing: Packing<'_>) -> ChunkReply {
    let (encoding, data) = pack(content, packing);
    ChunkReply {
        digest: digest.to_vec(),
        encoding: encoding as i32,
        raw_size: content.len() as u32,
        data,
    }
}

/// A manifest as it is sent.
pub fn pack_manifest(digest: &Digest, manifest: &Manifest, metered: bool) -> ManifestReply {
    let content = Bytes::from(manifest.encode_to_vec());
    let packing = Packing {
        metered,
        dictionary: None,
    };
    let (encoding, data) = pack(&content, packing);
    let raw_size = content.len() as u32;
    ManifestReply {
        manifest_digest: digest.to_vec(),
        encoding: encoding as i32,
        raw_size,
        data,
    }
}

/// Unpacks a chunk and checks that it is the one that was asked for. `dictionary` is what this end holds in the place of
/// the manifest that it named as a dictionary; one that is not the hub's own makes the digest differ.
pub fn unpack_chunk(asked: &Digest, reply: ChunkReply, dictionary: Option<&[u8]>) -> Result<Bytes, FetchError> {
    check_same(asked, &reply.digest)?;
    let content = unpack(
        asked,
        (reply.encoding, reply.raw_size, reply.data),
        MAX_CHUNK,
        dictionary,
    )?;
    if Digest::of_content(&content) == *asked {
        Ok(content)
    } else {
        Err(FetchError::Corrupt { digest: *asked })
    }
}

/// Unpacks a manifest. `has_digest` says whether its files make up the digest that was asked for.
pub fn unpack_manifest(
    asked: &Digest,
    reply: ManifestReply,
    has_digest: impl FnOnce(&Manifest) -> bool,
) -> Result<Manifest, FetchError> {
    check_same(asked, &reply.manifest_digest)?;
    let content = unpack(asked, (reply.encoding, reply.raw_size, reply.data), MAX_MANIFEST, None)?;
    let manifest = Manifest::read(&content).map_err(|_| FetchError::Unpack {
        digest: *asked,
        why: "it is not a manifest",
    })?;
    if has_digest(&manifest) {
        Ok(manifest)
    } else {
        Err(FetchError::Corrupt { digest: *asked })
    }
}

/// A refusal as an error.
pub fn refusal(refused: FetchRefused) -> FetchError {
    let code = RefusalCode::try_from(refused.code).unwrap_or(RefusalCode::Internal);
    FetchError::Refused {
        code,
        message: refused.message,
    }
}

fn refused_bad(what: &str) -> FetchRefused {
    FetchRefused {
        code: RefusalCode::BadRequest as i32,
        message: format!("the {what} is not 32 bytes"),
    }
}

fn check_same(asked: &Digest, bytes: &[u8]) -> Result<(), FetchError> {
    let actual = Digest::from_slice(bytes).unwrap_or_default();
    if actual == *asked {
        Ok(())
    } else {
        Err(FetchError::OtherDigest { asked: *asked, actual })
    }
}

fn pack(content: &Bytes, packing: Packing<'_>) -> (ChunkEncoding, Bytes) {
    let level = if packing.metered { METERED_LEVEL } else { LEVEL };
    let dictionary = packing.dictionary.filter(|dictionary| is_dictionary(dictionary));
    let packed = match dictionary {
        Some(dictionary) => zstd::bulk::Compressor::with_dictionary(level, dictionary)
            .and_then(|mut compressor| compressor.compress(content))
            .map(|packed| (ChunkEncoding::ZstdDictionary, packed)),
        None => zstd::bulk::compress(content, level).map(|packed| (ChunkEncoding::Zstd, packed)),
    };
    match packed {
        Ok((encoding, packed)) if packed.len() < content.len() => (encoding, packed.into()),
        _ => (ChunkEncoding::Plain, content.clone()),
    }
}

/// Whether both ends take these bytes as they are: content that looks like a trained dictionary would be read as one.
fn is_dictionary(bytes: &[u8]) -> bool {
    const TRAINED: [u8; 4] = [0x37, 0xa4, 0x30, 0xec];
    (8..=MAX_DICTIONARY).contains(&bytes.len()) && !bytes.starts_with(&TRAINED)
}

fn unpack(
    asked: &Digest,
    (encoding, raw_size, data): (i32, u32, Bytes),
    cap: usize,
    dictionary: Option<&[u8]>,
) -> Result<Bytes, FetchError> {
    let fail = |why| FetchError::Unpack { digest: *asked, why };
    let size = usize::try_from(raw_size)
        .ok()
        .filter(|size| *size <= cap)
        .ok_or_else(|| fail("it is too large"))?;
    let content = match ChunkEncoding::try_from(encoding) {
        Ok(ChunkEncoding::Plain) => data,
        // The capacity bounds what the frame may unpack to, whatever its own head promises.
        Ok(ChunkEncoding::Zstd) => zstd::bulk::decompress(&data, size)
            .map_err(|_| fail("it is not zstd of the stated size"))?
            .into(),
        Ok(ChunkEncoding::ZstdDictionary) => {
            let dictionary = dictionary.filter(|dictionary| is_dictionary(dictionary));
            let dictionary = dictionary.ok_or_else(|| fail("it needs a dictionary that this end did not offer"))?;
            zstd::bulk::Decompressor::with_dictionary(dictionary)
                .and_then(|mut decompressor| decompressor.decompress(&data, size))
                .map_err(|_| fail("it is not zstd of the stated size, with that dictionary"))?
                .into()
        }
        Err(_) => return Err(fail("its encoding is not known")),
    };
    if content.len() == size {
        Ok(content)
    } else {
        Err(fail("it has another size than stated"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::ManifestFile;

    struct OnlyThis(Digest, Digest);

    impl ChunkPolicy for OnlyThis {
        fn holds_manifest(&self, manifest: &Digest) -> bool {
            *manifest == self.0
        }
        fn has_chunk(&self, manifest: &Digest, chunk: &Digest) -> bool {
            (*manifest, *chunk) == (self.0, self.1)
        }
    }

    #[test]
    fn a_chunk_is_served_through_its_own_manifest_only() {
        let (manifest, chunk, other) = (
            Digest::of_content(b"manifest"),
            Digest::of_content(b"chunk"),
            Digest::of_content(b"other"),
        );
        let policy = OnlyThis(manifest, chunk);
        let ask = |manifest: &Digest, chunks: &[Digest]| {
            let digests = chunks.iter().map(|chunk| chunk.to_vec()).collect();
            let request = ChunkRequest {
                manifest_digest: manifest.to_vec(),
                digests,
                dict_manifest: Vec::new(),
            };
            authorise_chunks(&request, &policy).map_err(|refused| RefusalCode::try_from(refused.code))
        };
        assert_eq!(ask(&manifest, &[chunk]), Ok(vec![chunk]));
        assert_eq!(ask(&manifest, &[chunk, other]), Err(Ok(RefusalCode::NotInManifest)));
        assert_eq!(ask(&other, &[chunk]), Err(Ok(RefusalCode::NotDesired)));
        let bad = ChunkRequest {
            manifest_digest: vec![1],
            ..ChunkRequest::default()
        };
        assert!(authorise_chunks(&bad, &policy).is_err());
    }

    #[test]
    fn chunks_travel_and_are_checked() {
        let content = Bytes::from(vec![7; MAX_CHUNK]);
        let digest = Digest::of_content(&content);
        let reply = pack_chunk(&digest, &content, Packing::default());
        assert!(reply.data.len() < 1000);
        assert_eq!(unpack_chunk(&digest, reply.clone(), None), Ok(content));

        let other = Digest::of_content(b"other");
        assert!(matches!(
            unpack_chunk(&other, reply.clone(), None),
            Err(FetchError::OtherDigest { .. })
        ));
        let lying = ChunkReply {
            digest: other.to_vec(),
            ..reply.clone()
        };
        assert_eq!(
            unpack_chunk(&other, lying, None),
            Err(FetchError::Corrupt { digest: other })
        );
        let unknown = ChunkReply {
            encoding: 9,
            ..reply.clone()
        };
        assert!(unpack_chunk(&digest, unknown, None).is_err());
        let small = ChunkReply { raw_size: 100, ..reply };
        assert!(unpack_chunk(&digest, small, None).is_err());
    }

    /// 64 KiB of YAML as people write it, and the same with one line changed.
    fn before_and_after() -> (Bytes, Bytes) {
        let mut text = String::new();
        let mut number = 1_u64;
        while text.len() < 64 * 1024 {
            number = number
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text += &format!(
                "- name: setting-{:04x}\n  value: \"{number:016x}\"\n  enabled: {}\n",
                number >> 48,
                number & 256 == 0
            );
        }
        let after = text.replacen("enabled: true", "enabled: false", 1);
        assert_ne!(text, after);
        (text.into(), after.into())
    }

    #[test]
    fn one_changed_line_of_a_large_file_costs_little_with_the_file_before_as_dictionary() {
        let (before, after) = before_and_after();
        let digest = Digest::of_content(&after);
        for metered in [false, true] {
            let packing = |dictionary| Packing { metered, dictionary };
            let without = pack_chunk(&digest, &after, packing(None));
            let with = pack_chunk(&digest, &after, packing(Some(&before)));
            println!(
                "64 KiB of YAML, one line changed, metered {metered}: {} bytes plain, {} with zstd, {} with the dictionary",
                after.len(),
                without.data.len(),
                with.data.len()
            );
            assert_eq!(with.encoding, ChunkEncoding::ZstdDictionary as i32);
            assert!(with.data.len() * 20 < without.data.len());
            assert_eq!(unpack_chunk(&digest, with.clone(), Some(&before)), Ok(after.clone()));
            // Without it, or with another, nothing is believed.
            assert!(matches!(
                unpack_chunk(&digest, with.clone(), None),
                Err(FetchError::Unpack { .. })
            ));
            assert!(unpack_chunk(&digest, with, Some(&before[..before.len() - 7])).is_err());
        }
    }

    #[test]
    fn what_cannot_be_a_dictionary_is_none() {
        let (_, content) = before_and_after();
        let digest = Digest::of_content(&content);
        let trained = [&[0x37, 0xa4, 0x30, 0xec][..], &content[..]].concat();
        let long = vec![7; MAX_DICTIONARY + 1];
        for no in [&trained[..], &long[..], b"short"] {
            let packing = Packing {
                metered: false,
                dictionary: Some(no),
            };
            let reply = pack_chunk(&digest, &content, packing);
            assert_eq!(reply.encoding, ChunkEncoding::Zstd as i32);
            let lying = ChunkReply {
                encoding: ChunkEncoding::ZstdDictionary as i32,
                ..reply
            };
            assert!(unpack_chunk(&digest, lying, Some(no)).is_err());
        }
    }

    #[test]
    fn a_bomb_is_not_unpacked() {
        let bomb = Bytes::from(zstd::bulk::compress(&vec![0; 64 * 1024 * 1024], 19).expect("compressing zeros"));
        let digest = Digest::of_content(b"bomb");
        let reply = |raw_size| ChunkReply {
            digest: digest.to_vec(),
            encoding: 1,
            raw_size,
            data: bomb.clone(),
        };
        assert!(matches!(
            unpack_chunk(&digest, reply(64 * 1024 * 1024), None),
            Err(FetchError::Unpack { .. })
        ));
        assert!(matches!(
            unpack_chunk(&digest, reply(MAX_CHUNK as u32), None),
            Err(FetchError::Unpack { .. })
        ));
    }

    #[test]
    fn a_manifest_is_believed_by_its_digest_only() {
        let file = ManifestFile {
            path: "a.yaml".into(),
            mode: 0o644,
            digest: vec![1; 32],
            ..ManifestFile::default()
        };
        let manifest = Manifest {
            files: vec![file],
            evidence: Vec::new(),
        };
        let digest = Digest::of_content(b"named elsewhere");
        let reply = pack_manifest(&digest, &manifest, false);
        assert_eq!(
            unpack_manifest(&digest, reply.clone(), |read| *read == manifest),
            Ok(manifest)
        );
        assert!(matches!(
            unpack_manifest(&digest, reply, |_| false),
            Err(FetchError::Corrupt { .. })
        ));
    }
}
