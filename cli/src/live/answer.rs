//! The answer of a hub: frames as on the link, of which the last says how it ended.

use std::pin::Pin;

use anyhow::{Context, Result, anyhow, bail};
use bytes::{Buf, Bytes, BytesMut};
use futures::{AsyncBufRead, AsyncReadExt};
use nave_proto::{
    StreamKind,
    wire::{self, LiveBody, LiveEnd, LiveEndCode},
};
use serde_json::Value;

use crate::say;

/// An answer as it comes.
pub struct LiveAnswer {
    stream: Pin<Box<dyn AsyncBufRead + Send>>,
    buffer: BytesMut,
    ended: bool,
}

impl LiveAnswer {
    /// Of a body.
    pub fn new(stream: Pin<Box<dyn AsyncBufRead + Send>>) -> Self {
        LiveAnswer {
            stream,
            buffer: BytesMut::new(),
            ended: false,
        }
    }

    /// The next piece; none at the end.
    ///
    /// # Errors
    /// The connection broke, or the answer ended with an error.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        while !self.ended {
            if let Some(frame) = self.take_frame()? {
                match wire::decode::<LiveBody>(frame).context("reading the hub's answer")? {
                    Some(LiveBody::Data(data)) => return Ok(Some(data.data)),
                    Some(LiveBody::End(end)) => {
                        self.ended = true;
                        ended(end)?;
                    }
                    Some(LiveBody::Request(_) | LiveBody::Credit(_)) | None => {}
                }
                continue;
            }
            let mut piece = vec![0; 16 * 1024];
            let read = self.stream.read(&mut piece).await.context("reading the hub's answer")?;
            if read == 0 {
                bail!("the hub's answer broke off: the hub was restarted, or somebody between ended the connection");
            }
            self.buffer.extend_from_slice(&piece[..read]);
        }
        Ok(None)
    }

    /// All lines of an answer that is JSON, one document to a line.
    ///
    /// # Errors
    /// As [`LiveAnswer::next`], or what is no JSON.
    pub async fn documents(mut self) -> Result<Vec<Value>> {
        let mut text = Vec::new();
        while let Some(piece) = self.next().await? {
            text.extend_from_slice(&piece);
        }
        let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| serde_json::from_slice(line).context("reading the hub's answer"))
            .collect()
    }

    fn take_frame(&mut self) -> Result<Option<Bytes>> {
        let (mut length, mut head) = (0_u64, 0);
        loop {
            let Some(byte) = self.buffer.get(head) else {
                return Ok(None);
            };
            length |= u64::from(byte & 0x7f) << (7 * head);
            head += 1;
            if byte & 0x80 == 0 {
                break;
            }
            if head > 4 {
                return Err(anyhow!("the hub's answer cannot be read"));
            }
        }
        let length = StreamKind::Live
            .check_length(length)
            .context("reading the hub's answer")?;
        if self.buffer.len() < head + length {
            return Ok(None);
        }
        self.buffer.advance(head);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

fn ended(end: LiveEnd) -> Result<()> {
    match LiveEndCode::try_from(end.code) {
        Ok(LiveEndCode::Done) => Ok(()),
        Ok(LiveEndCode::Truncated) => {
            say::warning(&end.message);
            Ok(())
        }
        _ => Err(anyhow!(end.message)),
    }
}

#[cfg(test)]
mod tests {
    use nave_proto::{frame_head, wire::LiveData};

    use super::*;

    fn frame(body: LiveBody) -> Vec<u8> {
        let message = wire::encode(body);
        [frame_head(message.len()), message].concat()
    }

    fn data(text: &'static str) -> Vec<u8> {
        frame(LiveBody::Data(LiveData {
            data: Bytes::from_static(text.as_bytes()),
        }))
    }

    fn end(code: LiveEndCode, message: &str) -> Vec<u8> {
        frame(LiveBody::End(LiveEnd {
            code: code as i32,
            message: message.to_owned(),
        }))
    }

    async fn documents(frames: &[Vec<u8>]) -> Result<Vec<Value>> {
        LiveAnswer::new(Box::pin(futures::io::Cursor::new(frames.concat())))
            .documents()
            .await
    }

    #[tokio::test]
    async fn documents_are_put_together_from_pieces() {
        let frames = [data("{\"a\":1}\n{\"b\""), data(":2}\n"), end(LiveEndCode::Done, "")];
        let found = documents(&frames).await.expect("complete");
        assert_eq!(found, [serde_json::json!({"a": 1}), serde_json::json!({"b": 2})]);
    }

    #[tokio::test]
    async fn an_answer_that_broke_off_is_no_answer() {
        let error = documents(&[data("{}\n")]).await.expect_err("no end");
        assert!(error.to_string().contains("broke off"), "{error}");
        let frames = [data("{}\n"), end(LiveEndCode::Failed, "the link to the cluster failed")];
        let error = documents(&frames).await.expect_err("a failure");
        assert_eq!(error.to_string(), "the link to the cluster failed");
        assert!(documents(&[vec![0xff; 8]]).await.is_err());
    }
}
