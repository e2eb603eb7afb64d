//! Writing gzip whose bytes are the same whatever else is linked in.
//!
//! `flate2` compresses with whichever backend any crate of the program asked for, and backends differ in their output:
//! one more dependency would change the digest of every artifact. So the compressor is named here.

use std::io::{self, Write};

use miniz_oxide::{
    DataFormat, MZFlush, MZStatus,
    deflate::{core::CompressorOxide, stream::deflate},
};

/// Magic number, deflate, no flags, no time, no hint, and "unknown" for the operating system (RFC 1952).
const HEADER: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff];
/// zlib's default level.
const LEVEL: u8 = 6;
const BUFFER: usize = 32 * 1024;

/// Compresses what is written to it. Nothing is complete before [`GzipWriter::finish`].
pub(crate) struct GzipWriter<W: Write> {
    writer: W,
    compressor: Box<CompressorOxide>,
    checksum: crc32fast::Hasher,
    length: u32,
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
            buffer: vec![0; BUFFER].into_boxed_slice(),
        })
    }

    /// Writes the end, and hands the writer back.
    pub fn finish(mut self) -> io::Result<W> {
        loop {
            let step = deflate(&mut self.compressor, &[], &mut self.buffer, MZFlush::Finish);
            self.writer.write_all(&self.buffer[..step.bytes_written])?;
            match step.status {
                Ok(MZStatus::StreamEnd) => break,
                Ok(_) => {}
                Err(error) => return Err(failed(error)),
            }
        }
        self.writer.write_all(&self.checksum.finalize().to_le_bytes())?;
        self.writer.write_all(&self.length.to_le_bytes())?;
        Ok(self.writer)
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let step = deflate(&mut self.compressor, rest, &mut self.buffer, MZFlush::None);
            step.status.map_err(failed)?;
            self.writer.write_all(&self.buffer[..step.bytes_written])?;
            rest = &rest[step.bytes_consumed..];
        }
        self.checksum.update(bytes);
        // The format counts modulo 2^32.
        self.length = self.length.wrapping_add(bytes.len() as u32);
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
}
