//! Which requests of a session run, and which have: each key runs at most once.

use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message as _;
use prost::encoding::{decode_key, decode_varint};
use smallvec::SmallVec;

use crate::Message as _;
use crate::frame::{self, encode_message};
use crate::pb::tagwire::v1::{Response, status};

/// Requests of one session that run at the same time.
pub const MAX_RUNNING: usize = 16;
/// Answers that are remembered for a repeated key ...
pub const REMEMBERED_ANSWERS: usize = 64;
/// ... and their bytes at most; the newest is kept even where it is larger.
pub const REMEMBERED_BYTES: usize = 64 * 1024;

/// What is to be done with a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Begin {
    /// To be run; [`Requests::finish`] must follow.
    Run,
    /// It runs already: its answer is on the way.
    Running,
    /// Not to be run: this is the answer.
    Answered(Response),
}

/// The keys of one session, shared by those who begin requests and those who finish them.
#[derive(Debug, Default)]
pub struct Requests(Mutex<Keys>);

#[derive(Debug, Default)]
struct Keys {
    highest: u64,
    /// Rising, as they come.
    running: SmallVec<[u64; 2]>,
    lanes: u8,
    /// Answers that are remembered.
    answers: u8,
    /// The frames of answers as they were sent, one behind the other: smaller than their values, and one block of memory.
    frames: Vec<u8>,
    /// Bytes of those at the beginning that are not remembered any more.
    forgotten: u32,
}

impl Keys {
    fn remembered(&self) -> &[u8] {
        &self.frames[self.forgotten as usize..]
    }

    /// The answer to `key`, while it is remembered.
    fn answer(&self, key: u64) -> Option<Response> {
        let mut frames = self.remembered();
        while !frames.is_empty() {
            let (frame, rest) = frames.split_at(frame::encoded_head(frames).len);
            if key_of(frame::payload(frame)) == Some(key) {
                return Response::decode(frame::payload(frame)).ok();
            }
            frames = rest;
        }
        None
    }

    /// Encodes an answer and remembers it, and the oldest ones no more where they are too many. Returns its frame.
    fn remember(&mut self, response: &Response) -> &[u8] {
        if self.frames.is_empty() {
            // Many a session asks for one thing and no more.
            self.frames.reserve_exact(frame::encoded_bytes(Response::TAG, response.encoded_len()));
        }
        let mut at = self.frames.len();
        encode_message(response, &mut self.frames);
        self.answers += 1;
        while usize::from(self.answers) > REMEMBERED_ANSWERS
            || self.remembered().len() > REMEMBERED_BYTES && self.answers > 1
        {
            self.forgotten += frame::encoded_head(self.remembered()).len as u32;
            self.answers -= 1;
        }
        let forgotten = self.forgotten as usize;
        // Moves bytes only when that halves the buffer, so that every byte is moved once on average.
        if forgotten > self.frames.len() / 2 {
            self.frames.drain(..forgotten);
            (at, self.forgotten) = (at - forgotten, 0);
            if self.frames.capacity() > 4 * self.frames.len() {
                self.frames.shrink_to(2 * self.frames.len());
            }
        }
        &self.frames[at..]
    }
}

/// The key that an encoded Response begins with.
fn key_of(mut response: &[u8]) -> Option<u64> {
    let (field, _) = decode_key(&mut response).ok()?;
    (field == 1).then(|| decode_varint(&mut response).ok()).flatten()
}

impl Requests {
    fn keys(&self) -> MutexGuard<'_, Keys> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request has come. Keys rise strictly: one that is not above the highest is a repeat, and is never run again.
    pub fn begin(&self, key: u64, tag: u32) -> Begin {
        let mut keys = self.keys();
        if keys.running.binary_search(&key).is_ok() {
            return Begin::Running;
        }
        if key <= keys.highest {
            return Begin::Answered(keys.answer(key).unwrap_or_else(|| Response {
                key,
                tag,
                status: status::Value::Unavailable.into(),
                message: "keys rise; this one was passed".to_string(),
                may_have_run: true,
                ..Response::default()
            }));
        }
        keys.highest = key;
        keys.running.push(key);
        Begin::Run
    }

    /// Takes one of [`MAX_RUNNING`] places, for a request or for a batch, whose requests run one after the other. False
    /// where none is free; else [`Requests::leave`] must follow.
    pub fn enter(&self) -> bool {
        let mut keys = self.keys();
        let free = usize::from(keys.lanes) < MAX_RUNNING;
        keys.lanes += u8::from(free);
        free
    }

    /// Gives the place back.
    pub fn leave(&self) {
        self.keys().lanes -= 1;
    }

    /// A request that was begun is answered so: `send` is given the frame of the answer, which then is remembered. False:
    /// it was answered already, and this answer is not to be sent.
    pub fn finish(&self, response: &Response, send: impl FnOnce(&[u8])) -> bool {
        let mut keys = self.keys();
        let Ok(place) = keys.running.binary_search(&response.key) else { return false };
        keys.running.remove(place);
        send(keys.remember(response));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(key: u64, bytes: usize) -> Response {
        Response { key, body: vec![7; bytes].into(), ..Response::default() }
    }

    fn passed(begin: &Begin) -> bool {
        matches!(begin, Begin::Answered(response) if response.may_have_run)
    }

    #[test]
    fn a_key_runs_once_and_its_repeats_get_its_answer() {
        let requests = Requests::default();
        assert_eq!(requests.begin(5, 300), Begin::Run);
        assert_eq!(requests.begin(5, 300), Begin::Running);
        assert!(requests.finish(&answer(5, 3), |_| {}));
        assert!(!requests.finish(&answer(5, 4), |_| {}), "the first answer counts");
        assert_eq!(requests.begin(5, 300), Begin::Answered(answer(5, 3)));
        assert!(passed(&requests.begin(4, 300)), "a key that was passed by");
        assert!(passed(&requests.begin(0, 300)), "keys begin at 1");
        assert_eq!(requests.begin(6, 300), Begin::Run);
    }

    #[test]
    fn sixteen_run_at_once() {
        let requests = Requests::default();
        assert!((0..MAX_RUNNING).all(|_| requests.enter()));
        assert!(!requests.enter());
        requests.leave();
        assert!(requests.enter() && !requests.enter());
    }

    #[test]
    fn answers_are_forgotten_by_number_and_by_size() {
        let requests = Requests::default();
        for key in 1..=65 {
            assert_eq!(requests.begin(key, 300), Begin::Run);
            assert!(requests.finish(&answer(key, 0), |_| {}));
        }
        assert!(passed(&requests.begin(1, 300)));
        assert_eq!(requests.begin(2, 300), Begin::Answered(answer(2, 0)));
        for key in 66..69 {
            assert_eq!(requests.begin(key, 300), Begin::Run);
            assert!(requests.finish(&answer(key, 30_000), |_| {}));
        }
        assert!(passed(&requests.begin(66, 300)));
        assert_eq!(requests.begin(67, 300), Begin::Answered(answer(67, 30_000)));
        assert_eq!(requests.begin(100, 300), Begin::Run);
        assert!(requests.finish(&answer(100, 100_000), |_| {}));
        assert!(passed(&requests.begin(68, 300)));
        assert_eq!(requests.begin(100, 300), Begin::Answered(answer(100, 100_000)), "the newest is kept");
        for key in 101..300 {
            assert_eq!(requests.begin(key, 300), Begin::Run);
            assert!(requests.finish(&answer(key, 10), |_| {}));
        }
        assert_eq!(requests.begin(236, 300), Begin::Answered(answer(236, 10)));
        assert!(passed(&requests.begin(235, 300)));
        assert!(requests.keys().frames.capacity() < 10_000, "memory is given back");
    }
}
