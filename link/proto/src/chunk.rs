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
pub fn pack_chunk(digest: &Digest, content: &Bytes) -> ChunkReply {
    let (encoding, data) = pack(content);
    ChunkReply {
        digest: digest.to_vec(),
        encoding: encoding as i32,
        raw_size: content.len() as u32,
        data,
    }
}

/// A manifest as it is sent.
pub fn pack_manifest(digest: &Digest, manifest: &Manifest) -> ManifestReply {
    let content = Bytes::from(manifest.encode_to_vec());
    let (encoding, data) = pack(&content);
    let raw_size = content.len() as u32;
    ManifestReply {
        manifest_digest: digest.to_vec(),
        encoding: encoding as i32,
        raw_size,
        data,
    }
}

/// Unpacks a chunk and checks that it is the one that was asked for.
pub fn unpack_chunk(asked: &Digest, reply: ChunkReply) -> Result<Bytes, FetchError> {
    check_same(asked, &reply.digest)?;
    let content = unpack(asked, reply.encoding, reply.raw_size, reply.data, MAX_CHUNK)?;
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
    let content = unpack(asked, reply.encoding, reply.raw_size, reply.data, MAX_MANIFEST)?;
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

fn pack(content: &Bytes) -> (ChunkEncoding, Bytes) {
    match zstd::bulk::compress(content, LEVEL) {
        Ok(packed) if packed.len() < content.len() => (ChunkEncoding::Zstd, packed.into()),
        _ => (ChunkEncoding::Plain, content.clone()),
    }
}

fn unpack(asked: &Digest, encoding: i32, raw_size: u32, data: Bytes, cap: usize) -> Result<Bytes, FetchError> {
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
        let reply = pack_chunk(&digest, &content);
        assert!(reply.data.len() < 1000);
        assert_eq!(unpack_chunk(&digest, reply.clone()), Ok(content));

        let other = Digest::of_content(b"other");
        assert!(matches!(
            unpack_chunk(&other, reply.clone()),
            Err(FetchError::OtherDigest { .. })
        ));
        let lying = ChunkReply {
            digest: other.to_vec(),
            ..reply.clone()
        };
        assert_eq!(unpack_chunk(&other, lying), Err(FetchError::Corrupt { digest: other }));
        let unknown = ChunkReply {
            encoding: 9,
            ..reply.clone()
        };
        assert!(unpack_chunk(&digest, unknown).is_err());
        let small = ChunkReply { raw_size: 100, ..reply };
        assert!(unpack_chunk(&digest, small).is_err());
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
            unpack_chunk(&digest, reply(64 * 1024 * 1024)),
            Err(FetchError::Unpack { .. })
        ));
        assert!(matches!(
            unpack_chunk(&digest, reply(MAX_CHUNK as u32)),
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
        let reply = pack_manifest(&digest, &manifest);
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
