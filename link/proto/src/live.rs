//! The two ends of a live read: what may be under way, and how long each end waits.
//!
//! ```text
//! reader (hub)                                   writer (agent)
//!   LiveRequest{window} ───────────────────────►
//!            ◄────────────── LiveData, at most as much as window and credit allow
//!   LiveCredit{bytes}   ───────────────────────►   when half of the window was taken
//!            ◄────────────── LiveEnd
//! ```
//!
//! All streams of a connection share its flow control. A reader that is slow (a person who pages through a log) would
//! fill it, and state would wait; so a live read has a window of its own that is far below the connection's.

use bytes::Bytes;

use crate::bounds::DecodeError;
use crate::time::Now;
use crate::wire::{self, LiveBody, LiveCredit, LiveEnd, LiveEndCode, LiveRequest};

/// What a live read may have under way. The hub takes 256 KiB of one agent before anybody reads it; with as many reads
/// as an agent serves (16) there is a quarter left for state.
pub const LIVE_WINDOW: u32 = 12 * 1024;

/// An agent that says nothing for so long after a request is stuck; its own requests to the spoke end earlier.
const FIRST_ANSWER_MS: u64 = 45_000;

/// The peer broke the rules of a live read. It concerns this stream alone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LiveError {
    /// A frame that cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// More was sent than was allowed.
    #[error("the agent sent {sent} bytes where {allowed} were allowed")]
    OverWindow {
        /// So many.
        sent: u64,
        /// By request and credit.
        allowed: u64,
    },
    /// A message of the other direction, or after the end.
    #[error("{0} is not expected on a live stream")]
    Unexpected(&'static str),
}

/// What came in.
#[derive(Debug, Clone, PartialEq)]
pub enum LiveEvent {
    /// A piece of the answer. To be followed by [`LiveReader::taken`] when it was passed on.
    Data(Bytes),
    /// The end.
    End(LiveEnd),
}

/// The hub's end.
#[derive(Debug)]
pub struct LiveReader {
    window: u64,
    received: u64,
    taken: u64,
    granted: u64,
    deadline: u64,
    first_deadline: u64,
    answered: bool,
    ended: bool,
}

/// The agent's end: how much may be sent.
#[derive(Debug, Clone)]
pub struct LiveWriter {
    allowed: u64,
    sent: u64,
}

impl LiveReader {
    /// A read that was asked for now and lasts at most `longest_ms`. The request is to carry [`LIVE_WINDOW`].
    pub fn new(now: Now, longest_ms: u64) -> Self {
        let deadline = now.mono.saturating_add(longest_ms);
        Self {
            window: LIVE_WINDOW.into(),
            received: 0,
            taken: 0,
            granted: LIVE_WINDOW.into(),
            deadline,
            first_deadline: (now.mono + FIRST_ANSWER_MS).min(deadline),
            answered: false,
            ended: false,
        }
    }

    /// A frame of the agent. `None` for a message of a later version.
    pub fn handle(&mut self, frame: Bytes) -> Result<Option<LiveEvent>, LiveError> {
        let Some(body) = wire::decode::<LiveBody>(frame)? else {
            return Ok(None);
        };
        if self.ended {
            return Err(LiveError::Unexpected("a message after the end"));
        }
        self.answered = true;
        match body {
            LiveBody::Data(data) => {
                self.received += data.data.len() as u64;
                if self.received > self.granted {
                    return Err(LiveError::OverWindow {
                        sent: self.received,
                        allowed: self.granted,
                    });
                }
                Ok(Some(LiveEvent::Data(data.data)))
            }
            LiveBody::End(end) => {
                self.ended = true;
                Ok(Some(LiveEvent::End(end)))
            }
            LiveBody::Request(_) => Err(LiveError::Unexpected("a request of the agent")),
            LiveBody::Credit(_) => Err(LiveError::Unexpected("credit of the agent")),
        }
    }

    /// So many bytes were passed on. Answers the frame that lets the agent go on, when it is worth one.
    pub fn taken(&mut self, bytes: usize) -> Option<Vec<u8>> {
        self.taken = (self.taken + bytes as u64).min(self.received);
        let more = self.taken + self.window - self.granted;
        if self.ended || more < self.window / 2 {
            return None;
        }
        self.granted += more;
        let bytes = u32::try_from(more).expect("at most a window");
        Some(wire::encode(LiveBody::Credit(LiveCredit { bytes })))
    }

    /// How many bytes came.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// When [`LiveReader::handle_timeout`] is due, on the clock of [`Now::mono`].
    pub fn poll_timeout(&self) -> u64 {
        if self.answered {
            self.deadline
        } else {
            self.first_deadline
        }
    }

    /// How the read ends because of time, if it does.
    pub fn handle_timeout(&mut self, now: Now) -> Option<LiveEnd> {
        if self.ended || now.mono < self.poll_timeout() {
            return None;
        }
        self.ended = true;
        let (code, message) = if self.answered {
            (LiveEndCode::Truncated, "the read took as long as one may")
        } else {
            (LiveEndCode::Failed, "the agent did not answer in time")
        };
        Some(LiveEnd {
            code: code as i32,
            message: message.to_owned(),
        })
    }
}

impl LiveWriter {
    /// The writer of an answer to this request.
    pub fn new(request: &LiveRequest) -> Self {
        Self {
            allowed: request.window.into(),
            sent: 0,
        }
    }

    /// How many bytes may be sent now.
    pub fn allowance(&self) -> usize {
        usize::try_from(self.allowed - self.sent).unwrap_or(usize::MAX)
    }

    /// So many were sent.
    pub fn sent(&mut self, bytes: usize) {
        self.sent = (self.sent + bytes as u64).min(self.allowed);
    }

    /// A frame of the hub after its request.
    pub fn handle(&mut self, frame: Bytes) -> Result<(), LiveError> {
        match wire::decode::<LiveBody>(frame)? {
            // A later version may say more.
            None => Ok(()),
            Some(LiveBody::Credit(credit)) => {
                self.allowed = self.allowed.saturating_add(credit.bytes.into());
                Ok(())
            }
            Some(LiveBody::Request(_)) => Err(LiveError::Unexpected("a second request")),
            Some(LiveBody::Data(_)) => Err(LiveError::Unexpected("data of the hub")),
            Some(LiveBody::End(_)) => Err(LiveError::Unexpected("an end of the hub")),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use rand::{Rng, SeedableRng, rngs::StdRng};

    use super::*;
    use crate::wire::LiveData;

    const LONGEST: u64 = 3_600_000;

    fn data(bytes: usize) -> Bytes {
        let data = Bytes::from(vec![b'x'; bytes]);
        wire::encode(LiveBody::Data(LiveData { data })).into()
    }

    fn end(code: LiveEndCode) -> Bytes {
        let end = LiveEnd {
            code: code as i32,
            message: String::new(),
        };
        wire::encode(LiveBody::End(end)).into()
    }

    fn writer() -> LiveWriter {
        LiveWriter::new(&LiveRequest {
            window: LIVE_WINDOW,
            ..LiveRequest::default()
        })
    }

    /// Both ends with delays of their own: everything arrives, and never more is under way than the window.
    #[test]
    fn a_slow_reader_holds_back_the_writer_and_loses_nothing() {
        for seed in 0..200 {
            let mut rng = StdRng::seed_from_u64(seed);
            let (mut reader, mut writer) = (LiveReader::new(Now::default(), LONGEST), writer());
            let (mut down, mut up): (VecDeque<Bytes>, VecDeque<Bytes>) = Default::default();
            let mut left = 300_000_usize;
            let (mut unread, mut read) = (VecDeque::new(), 0);
            while read < 300_000 {
                match rng.random_range(0..4) {
                    0 if left > 0 && writer.allowance() > 0 => {
                        let piece = left.min(writer.allowance()).min(rng.random_range(1..8000));
                        writer.sent(piece);
                        left -= piece;
                        down.push_back(data(piece));
                    }
                    1 => {
                        if let Some(frame) = down.pop_front() {
                            match reader.handle(frame).expect("within the window") {
                                Some(LiveEvent::Data(data)) => unread.push_back(data.len()),
                                other => panic!("seed {seed}: {other:?}"),
                            }
                        }
                    }
                    2 => {
                        if let Some(bytes) = unread.pop_front() {
                            read += bytes;
                            up.extend(reader.taken(bytes).map(Bytes::from));
                        }
                    }
                    _ => {
                        if let Some(frame) = up.pop_front() {
                            writer.handle(frame).expect("credit");
                        }
                    }
                }
                let waiting = (300_000 - left) - read;
                assert!(
                    waiting <= LIVE_WINDOW as usize,
                    "seed {seed}: {waiting} bytes under way"
                );
            }
            assert_eq!(reader.received(), 300_000, "seed {seed}");
        }
    }

    #[test]
    fn an_agent_that_ignores_the_window_is_cut() {
        let mut reader = LiveReader::new(Now::default(), LONGEST);
        assert!(reader.handle(data(LIVE_WINDOW as usize)).is_ok());
        let error = reader.handle(data(1)).expect_err("too much");
        assert_eq!(error.to_string(), "the agent sent 12289 bytes where 12288 were allowed");
    }

    #[test]
    fn nothing_comes_after_the_end() {
        let mut reader = LiveReader::new(Now::default(), LONGEST);
        let ended = reader.handle(end(LiveEndCode::NotFound)).expect("an end");
        assert!(matches!(ended, Some(LiveEvent::End(end)) if end.code == LiveEndCode::NotFound as i32));
        assert!(matches!(reader.handle(data(1)), Err(LiveError::Unexpected(_))));
        assert_eq!(reader.handle_timeout(Now::default().plus(LONGEST)), None);
    }

    #[test]
    fn silence_and_length_have_limits() {
        let start = Now::default();
        let mut reader = LiveReader::new(start, LONGEST);
        assert_eq!(reader.poll_timeout(), FIRST_ANSWER_MS);
        assert_eq!(reader.handle_timeout(start.plus(FIRST_ANSWER_MS - 1)), None);
        let silent = reader.handle_timeout(start.plus(FIRST_ANSWER_MS)).expect("too late");
        assert_eq!(silent.code, LiveEndCode::Failed as i32);

        let mut reader = LiveReader::new(start, LONGEST);
        assert!(reader.handle(data(1)).is_ok());
        assert_eq!(
            reader.handle_timeout(start.plus(LONGEST - 1)),
            None,
            "a log may be silent"
        );
        let long = reader.handle_timeout(start.plus(LONGEST)).expect("long enough");
        assert_eq!(long.code, LiveEndCode::Truncated as i32);
        assert_eq!(LiveReader::new(start, 10).poll_timeout(), 10);
    }

    #[test]
    fn each_end_has_its_own_messages() {
        let mut reader = LiveReader::new(Now::default(), LONGEST);
        let request = || Bytes::from(wire::encode(LiveBody::Request(LiveRequest::default())));
        assert!(matches!(reader.handle(request()), Err(LiveError::Unexpected(_))));
        let mut writer = writer();
        for frame in [request(), data(1), end(LiveEndCode::Done)] {
            assert!(matches!(writer.handle(frame), Err(LiveError::Unexpected(_))));
        }
        let most = LiveCredit { bytes: u32::MAX };
        for _ in 0..3 {
            writer
                .handle(wire::encode(LiveBody::Credit(most)).into())
                .expect("credit adds up");
        }
        assert!(writer.allowance() > u32::MAX as usize);
    }
}
