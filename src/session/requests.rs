//! Which requests of a session run, and which have: each key runs at most once.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use prost::Message as _;
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
    lanes: usize,
    /// The frames of answers, by key, as they were sent: smaller than their values.
    remembered: VecDeque<(u64, Box<[u8]>)>,
    remembered_bytes: usize,
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
            let known = keys.remembered.iter().find(|(remembered, _)| *remembered == key);
            let known = known.and_then(|(_, frame)| Response::decode(frame::payload(frame)).ok());
            return Begin::Answered(known.unwrap_or_else(|| Response {
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
        let free = keys.lanes < MAX_RUNNING;
        keys.lanes += usize::from(free);
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
        let mut frame = Vec::with_capacity(frame::encoded_bytes(Response::TAG, response.encoded_len()));
        encode_message(response, &mut frame);
        send(&frame);
        if keys.remembered.is_empty() {
            // Many a session asks for one thing and no more.
            keys.remembered.reserve_exact(1);
        }
        keys.remembered_bytes += frame.len();
        keys.remembered.push_back((response.key, frame.into_boxed_slice()));
        while keys.remembered.len() > REMEMBERED_ANSWERS
            || keys.remembered_bytes > REMEMBERED_BYTES && keys.remembered.len() > 1
        {
            let forgotten = keys.remembered.pop_front();
            keys.remembered_bytes -= forgotten.map_or(0, |(_, frame)| frame.len());
        }
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
    }
}
