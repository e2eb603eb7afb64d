//! How messages lie on a stream.
//!
//! ```text
//! stream = varint(kind) frame*          frame = varint(length) message
//! ```
//!
//! The length of a frame is checked against the limit of its stream before a byte of it is stored, and a reader grows
//! its buffer with what arrives, never by what a length promises.

use crate::bounds::DecodeError;

/// A frame on the control stream is at most this long.
pub const MAX_CONTROL_FRAME: usize = 64 * 1024;

/// A frame on the state stream is at most this long: an item of [`MAX_ITEM`] and its head.
pub const MAX_STATE_FRAME: usize = MAX_ITEM + 8 * 1024;

/// No payload of an item is larger, whatever the peer says it takes. etcd takes objects of 1.5 MiB, and an item may
/// bundle a few.
pub const MAX_ITEM: usize = 4 * 1024 * 1024;

/// Content of a chunk before compression.
pub const MAX_CHUNK: usize = 256 * 1024;

/// A frame on a chunk stream is at most this long: a compressed manifest of [`MAX_MANIFEST`] that did not compress.
pub const MAX_CHUNK_FRAME: usize = MAX_MANIFEST + 64 * 1024;

/// An encoded manifest before compression: some 30,000 files.
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;

/// A frame on a live stream is at most this long.
pub const MAX_LIVE_FRAME: usize = 256 * 1024;

/// What a stream carries; the first varint on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum StreamKind {
    /// Opened once by the agent: everything that must not wait behind a large item.
    Control = 1,
    /// Opened once by the agent, after it has read `Welcome` in a mode that lets items flow: items both ways, their
    /// acknowledgements, tree walks, events. Between streams there is no order, so the hub must not be able to send an
    /// item before the agent knows the mode.
    State = 2,
    /// Opened by the agent for each fetch of a manifest or of chunks.
    Chunk = 3,
    /// Opened by the hub for each live read.
    Live = 4,
}

impl StreamKind {
    /// The kind that a stream's first varint names.
    pub fn from_number(number: u64) -> Option<Self> {
        [Self::Control, Self::State, Self::Chunk, Self::Live]
            .into_iter()
            .find(|kind| *kind as u64 == number)
    }

    /// The longest frame on such a stream.
    pub fn max_frame(self) -> usize {
        match self {
            Self::Control => MAX_CONTROL_FRAME,
            Self::State => MAX_STATE_FRAME,
            Self::Chunk => MAX_CHUNK_FRAME,
            Self::Live => MAX_LIVE_FRAME,
        }
    }

    /// Checks a frame's length before it is read.
    pub fn check_length(self, length: u64) -> Result<usize, DecodeError> {
        let limit = self.max_frame();
        match usize::try_from(length) {
            Ok(bytes) if bytes <= limit => Ok(bytes),
            _ => Err(DecodeError::TooLarge {
                what: self.frame_name(),
                bytes: length as usize,
                limit,
            }),
        }
    }

    pub(crate) fn frame_name(self) -> &'static str {
        match self {
            Self::Control => "control frame",
            Self::State => "state frame",
            Self::Chunk => "chunk frame",
            Self::Live => "live frame",
        }
    }
}

/// Appends a number in base 128, low bits first.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// What precedes a frame of `length` bytes on its stream.
pub fn frame_head(length: usize) -> Vec<u8> {
    let mut head = Vec::with_capacity(4);
    put_varint(&mut head, length as u64);
    head
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bounds::take_varint;

    #[test]
    fn numbers_round_trip() {
        for value in [0, 1, 127, 128, 300, 65_536, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut rest = bytes.as_slice();
            assert_eq!((take_varint(&mut rest), rest.len()), (Some(value), 0));
        }
    }

    #[test]
    fn lengths_are_checked_before_reading() {
        assert_eq!(StreamKind::Control.check_length(65_536), Ok(65_536));
        let error = StreamKind::Control.check_length(65_537).expect_err("too long");
        assert_eq!(
            error.to_string(),
            "control frame of 65537 bytes, at most 65536 are allowed"
        );
        assert!(StreamKind::State.check_length(u64::MAX).is_err());
        assert_eq!(StreamKind::from_number(2), Some(StreamKind::State));
        assert_eq!(StreamKind::from_number(0), None);
    }
}
