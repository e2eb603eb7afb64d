//! Writing gzip whose bytes are the same whatever else is linked in.
//!
//! `flate2` compresses with whichever backend any crate of the program asked for, and backends differ in their output:
//! one more dependency would change the digest of every artifact. So the compressor is named here.

use std::io::{self, Write};

use miniz_oxide::{
    DataFormat, MZFlush,
    deflate::{core::CompressorOxide, stream::deflate},
};

/// Magic number, deflate, no flags, no time, no hint, and "unknown" for the operating system (RFC 1952).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// zlib's default level.
const LEVEL: u8 = 6;
/// More than the compressor ever holds back (85,196 bytes), so that one call empties it.
const BUFFER: usize = 128 * 1024;
/// The last block of a deflate stream, without content (RFC 1951, 3.2.6).
const LAST: [u8; 2] = [0x03, 0x00];

/// Where a stretch of the plain text went: compressed by itself, it can be copied into another stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stretch {
    /// Its first byte in the compressed stream.
    pub at: u64,
    /// Its compressed length in bytes.
    pub length: u64,
    /// Its plain length in bytes.
    pub plain: u64,
    /// CRC-32 of the plain bytes.
    pub checksum: u32,
}

/// Compresses what is written to it. Nothing is complete before [`GzipWriter::finish`].
///
/// [`GzipWriter::cut`] ends a stretch: what follows refers to nothing before it and begins at a byte of its own, so that
/// a stretch stands for the same text wherever it is copied to. One gzip member all the same, for every reader.
pub(crate) struct GzipWriter<W: Write> {
    writer: W,
    compressor: Box<CompressorOxide>,
    /// Of the stretches that are complete.
    checksum: crc32fast::Hasher,
    length: u64,
    /// Compressed bytes written so far, the header among them.
    written: u64,
    /// Of the stretch that is being written.
    open: crc32fast::Hasher,
    open_length: u64,
    open_at: u64,
    buffer: Box<[u8]>,
}

impl<W: Write> GzipWriter<W> {
    pub fn new(mut writer: W) -> io::Result<Self> {
        writer.write_all(&HEADER)?;
        let mut compressor = Box::<CompressorOxide>::default();
        compressor.set_format_and_level(DataFormat::Raw, LEVEL);
        Ok(GzipWriter {
            writer,
            compressor,
            checksum: crc32fast::Hasher::new(),
            length: 0,
            written: HEADER.len() as u64,
            open: crc32fast::Hasher::new(),
            open_length: 0,
            open_at: HEADER.len() as u64,
            buffer: vec![0; BUFFER].into_boxed_slice(),
        })
    }

    /// Ends the stretch that is being written; none where nothing was written since the last one ended.
    pub fn cut(&mut self) -> io::Result<Option<Stretch>> {
        if self.open_length == 0 {
            return Ok(None);
        }
        let step = deflate(&mut self.compressor, &[], &mut self.buffer, MZFlush::Sync);
        step.status.map_err(failed)?;
        if step.bytes_written == self.buffer.len() {
            return Err(io::Error::other(
                "compressing: more was held back than the compressor can hold",
            ));
        }
        self.emit(step.bytes_written)?;
        self.compressor.reset();
        let stretch = Stretch {
            at: self.open_at,
            length: self.written - self.open_at,
            plain: self.open_length,
            checksum: self.open.clone().finalize(),
        };
        self.checksum.combine(&self.open);
        self.length += self.open_length;
        self.begin();
        Ok(Some(stretch))
    }

    /// Takes a stretch over from another stream; `bytes` are as they stand there. Ends the stretch that is being written.
    pub fn copy(&mut self, bytes: &[u8], plain: u64, checksum: u32) -> io::Result<Stretch> {
        self.cut()?;
        let at = self.written;
        self.writer.write_all(bytes)?;
        self.written += bytes.len() as u64;
        self.checksum
            .combine(&crc32fast::Hasher::new_with_initial_len(checksum, plain));
        self.length += plain;
        self.begin();
        Ok(Stretch {
            at,
            length: bytes.len() as u64,
            plain,
            checksum,
        })
    }

    /// Writes the end, and hands the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        self.cut()?;
        self.writer.write_all(&LAST)?;
        self.writer.write_all(&self.checksum.finalize().to_le_bytes())?;
        // The format counts modulo 2^32.
        self.writer.write_all(&(self.length as u32).to_le_bytes())?;
        Ok(self.writer)
    }

    /// Where the compressed bytes go.
    pub fn writer(&mut self) -> &mut W {
        &mut self.writer
    }

    fn begin(&mut self) {
        self.open = crc32fast::Hasher::new();
        self.open_length = 0;
        self.open_at = self.written;
    }

    fn emit(&mut self, count: usize) -> io::Result<()> {
        self.written += count as u64;
        self.writer.write_all(&self.buffer[..count])
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let step = deflate(&mut self.compressor, rest, &mut self.buffer, MZFlush::None);
            step.status.map_err(failed)?;
            self.emit(step.bytes_written)?;
            rest = &rest[step.bytes_consumed..];
        }
        self.open.update(bytes);
        self.open_length += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }
}

fn failed(error: miniz_oxide::MZError) -> io::Error {
    io::Error::other(format!("compressing: {error:?}"))
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn compress(bytes: &[u8], piece: usize) -> Vec<u8> {
        let mut gzip = GzipWriter::new(Vec::new()).unwrap();
        for piece in bytes.chunks(piece) {
            gzip.write_all(piece).unwrap();
        }
        gzip.finish().unwrap()
    }

    #[test]
    fn the_bytes_do_not_depend_on_how_they_come() {
        let text: Vec<u8> = (0..60_000_u32).flat_map(|n| (n * n % 9973).to_le_bytes()).collect();
        for bytes in [&text[..], b"x", b""] {
            let whole = compress(bytes, usize::MAX);
            assert_eq!(whole, compress(bytes, 7));
            assert_eq!(whole, compress(bytes, 40_000));
            let mut plain = Vec::new();
            flate2::read::GzDecoder::new(whole.as_slice())
                .read_to_end(&mut plain)
                .unwrap();
            assert_eq!(plain, bytes);
        }
    }

    fn plain(bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).unwrap();
        plain
    }

    #[test]
    fn a_copied_stretch_is_what_was_compressed() {
        let texts: Vec<Vec<u8>> = (1..5_u32)
            .map(|seed| (0..30_000 * seed).map(|n| (n * seed % 251) as u8).collect())
            .collect();
        let mut first = GzipWriter::new(Vec::new()).unwrap();
        assert_eq!(first.cut().unwrap(), None);
        let mut stretches = Vec::new();
        for text in &texts {
            first.write_all(text).unwrap();
            stretches.push(first.cut().unwrap().unwrap());
        }
        let first = first.finish().unwrap();
        assert_eq!(plain(&first), texts.concat());

        // The second is another text now, the others are copied.
        let mut second = GzipWriter::new(Vec::new()).unwrap();
        let mut whole = GzipWriter::new(Vec::new()).unwrap();
        for (index, (text, stretch)) in texts.iter().zip(&stretches).enumerate() {
            let changed = b"something else".as_slice();
            whole.write_all(if index == 1 { changed } else { text }).unwrap();
            whole.cut().unwrap();
            if index == 1 {
                second.write_all(changed).unwrap();
                continue;
            }
            let bytes = &first[stretch.at as usize..][..stretch.length as usize];
            let copied = second.copy(bytes, stretch.plain, stretch.checksum).unwrap();
            assert_eq!((copied.length, copied.checksum), (stretch.length, stretch.checksum));
        }
        let second = second.finish().unwrap();
        assert_eq!(
            plain(&second),
            [&texts[0], &b"something else".to_vec(), &texts[2], &texts[3]]
                .map(Vec::as_slice)
                .concat()
        );
        assert_eq!(second, whole.finish().unwrap());
    }
}
