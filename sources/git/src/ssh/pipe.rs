//! A channel of SSH as something to read from and write to, with a deadline.

use std::{
    io::{self, BufRead, Read, Write},
    time::Instant,
};

use bytes::Bytes;
use russh::{ChannelMsg, ChannelReadHalf, ChannelWriteHalf, client};

use crate::wire::{Failure, Wire};

/// How much of what the server says on its error output is kept: the end.
const MAX_SAID: usize = 4 << 10;

/// The server's output.
pub(crate) struct Reader {
    pub wire: Wire,
    pub half: ChannelReadHalf,
    pub chunk: Bytes,
    pub read: u64,
    pub said: Vec<u8>,
    pub done: bool,
    /// Kept for as long as anybody reads; its end is what matters.
    pub _connection: Connection,
}

/// The server's input.
pub(crate) struct Writer {
    pub wire: Wire,
    pub half: ChannelWriteHalf<client::Msg>,
}

/// Ends the connection when it is dropped, which happens on a thread where that may block.
pub(crate) struct Connection {
    pub wire: Wire,
    pub handle: client::Handle<super::connect::Checker>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        let bye = self.handle.disconnect(russh::Disconnect::ByApplication, "", "");
        let second = std::time::Duration::from_secs(1);
        // Without an answer the socket closes with the handle.
        let _ = self
            .wire
            .runtime
            .block_on(async { tokio::time::timeout(second, bye).await });
    }
}

impl Reader {
    /// The next piece of output; empty at its end.
    fn next(&mut self) -> io::Result<Bytes> {
        loop {
            if self.done {
                return Ok(Bytes::new());
            }
            let left = self.wire.deadline.saturating_duration_since(Instant::now());
            let half = &mut self.half;
            let message = self
                .wire
                .runtime
                .block_on(async { tokio::time::timeout(left, half.wait()).await })
                .map_err(|_| self.wire.failures.record(Failure::Timeout))?;
            match message {
                Some(ChannelMsg::Data { data }) if !data.is_empty() => {
                    self.read += data.len() as u64;
                    if self.read > self.wire.max_bytes {
                        return Err(self.wire.failures.record(Failure::TooLarge(self.wire.max_bytes)));
                    }
                    return Ok(data);
                }
                Some(ChannelMsg::ExtendedData { data, .. }) => {
                    self.said.extend_from_slice(&data);
                    let over = self.said.len().saturating_sub(MAX_SAID);
                    self.said.drain(..over);
                }
                Some(ChannelMsg::ExitStatus { exit_status }) if exit_status != 0 => self.complain(exit_status),
                Some(ChannelMsg::Close) | None => self.done = true,
                // An end of output may still be followed by the exit status, which says why.
                Some(_) => {}
            }
        }
    }

    /// Notes what the server said, so that it is told instead of what follows from it.
    fn complain(&mut self, status: u32) {
        let said = String::from_utf8_lossy(&self.said);
        let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let text = if lines.is_empty() {
            format!("the command ended with status {status}")
        } else {
            lines.join("; ")
        };
        let _ = self.wire.failures.record(Failure::Said(nave_net::redact(&text)));
    }
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let read = available.len().min(buffer.len());
        buffer[..read].copy_from_slice(&available[..read]);
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Reader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.chunk.is_empty() {
            self.chunk = self.next()?;
        }
        Ok(&self.chunk)
    }

    fn consume(&mut self, amount: usize) {
        let _ = self.chunk.split_to(amount);
    }
}

impl Write for Writer {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        let left = self.wire.deadline.saturating_duration_since(Instant::now());
        let piece = &data[..data.len().min(1 << 20)];
        let sending = self.half.data_bytes(Bytes::copy_from_slice(piece));
        let sent = self
            .wire
            .runtime
            .block_on(async { tokio::time::timeout(left, sending).await });
        match sent {
            Ok(Ok(())) => Ok(piece.len()),
            // The server has gone; what it said about that is read next.
            Ok(Err(error)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, error)),
            Err(_) => Err(self.wire.failures.record(Failure::Timeout)),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
