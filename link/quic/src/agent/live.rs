//! Where the answer to a live read goes, at the agent's end: as fast as the hub gives credit, and no faster.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use nave_proto::wire::{self, LiveBody, LiveData, LiveRequest};
use nave_proto::{LiveWriter, StreamKind};
use tokio::sync::{Notify, oneshot};

use crate::connection::{LinkError, SendStream};

/// A piece of an answer; the frame's head needs room too.
const PIECE: usize = 200 * 1024;

/// Where the answer to a live read goes.
#[derive(Debug)]
pub struct LiveSink {
    stream: Option<SendStream>,
    credit: Arc<Credit>,
    /// Gives the stream back, so that the link can say how it ended.
    back: Option<oneshot::Sender<SendStream>>,
}

/// What may be sent, shared with whoever hears the hub.
#[derive(Debug)]
pub(crate) struct Credit {
    writer: Mutex<LiveWriter>,
    more: Notify,
}

impl LiveSink {
    pub(crate) fn new(stream: SendStream, back: oneshot::Sender<SendStream>, credit: Arc<Credit>) -> Self {
        Self {
            stream: Some(stream),
            credit,
            back: Some(back),
        }
    }

    /// Sends a piece, in several frames when it is large; an empty one says that an answer begins, although nothing is
    /// there yet. Waits while the reader is slow; an error means that nobody listens any more.
    pub async fn send(&mut self, mut data: Bytes) -> Result<(), LinkError> {
        let stream = self.stream.as_mut().expect("given back only when dropped");
        if data.is_empty() {
            let nothing = wire::encode(LiveBody::Data(LiveData { data }));
            return stream.send(StreamKind::Live, nothing).await;
        }
        while !data.is_empty() {
            let room = self.credit.room().await;
            let data = data.split_to(data.len().min(room).min(PIECE));
            self.credit.lock().sent(data.len());
            stream
                .send(StreamKind::Live, wire::encode(LiveBody::Data(LiveData { data })))
                .await?;
        }
        Ok(())
    }
}

impl Credit {
    pub(crate) fn new(request: &LiveRequest) -> Self {
        Self {
            writer: Mutex::new(LiveWriter::new(request)),
            more: Notify::new(),
        }
    }

    /// A frame of the hub. `false` when it breaks the rules.
    pub(crate) fn hear(&self, frame: Bytes) -> bool {
        let heard = self.lock().handle(frame).is_ok();
        self.more.notify_one();
        heard
    }

    async fn room(&self) -> usize {
        loop {
            let room = self.lock().allowance();
            if room > 0 {
                return room;
            }
            self.more.notified().await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, LiveWriter> {
        // Two numbers, which are right after every operation.
        self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LiveSink {
    fn drop(&mut self) {
        if let (Some(stream), Some(back)) = (self.stream.take(), self.back.take()) {
            // Nobody waits for it when the session is ending.
            let _ = back.send(stream);
        }
    }
}
