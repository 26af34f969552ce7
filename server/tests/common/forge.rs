//! Makes frames as an attacker would: most of them good, the others good ones that were broken, some of them random.

use std::ops::Range;

use fastrand::Rng;
use tagwire::frame::encode;
use tagwire::pb::arena::v1 as arena;
use tagwire::pb::tagwire::v1;
use tagwire::prost::Message as _;
use tagwire::prost::encoding;
use tagwire::{Message, Tag};

use super::frame;
use super::siege::extended;

/// Makes frames.
pub struct Forge(pub Rng);

/// What a connection is good for after a frame.
#[derive(PartialEq)]
pub enum After {
    More,
    /// It ends the session, at least of a native client; or nothing can follow it.
    Nothing,
}

impl Forge {
    pub fn new(seed: u64) -> Self {
        Forge(Rng::with_seed(seed))
    }

    fn bytes(&mut self, lengths: Range<usize>) -> Vec<u8> {
        let length = self.0.usize(lengths);
        std::iter::repeat_with(|| self.0.u8(..)).take(length).collect()
    }

    fn number(&mut self) -> i32 {
        match self.0.u8(0..3) {
            0 => self.0.i32(0..2000),
            1 => self.0.i32(..),
            _ => *self.0.choice(&[0, -1, i32::MIN, i32::MAX]).unwrap(),
        }
    }

    /// Fields of a newer schema, of every wire type but groups.
    fn unknown_fields(&mut self, out: &mut Vec<u8>) {
        for _ in 0..self.0.usize(0..3) {
            let number = self.0.u32(100..10_000);
            match self.0.u8(0..4) {
                0 => encoding::uint64::encode(number, &self.0.u64(..), out),
                1 => encoding::fixed64::encode(number, &self.0.u64(..), out),
                2 => encoding::fixed32::encode(number, &self.0.u32(..), out),
                _ => encoding::bytes::encode(number, &self.bytes(0..40), out),
            }
        }
    }

    /// A message that must be taken.
    fn valid(&mut self) -> (u16, Vec<u8>) {
        let (tag, mut payload) = match self.0.u8(0..10) {
            0..7 => {
                let (left_click, right_click) = (self.0.bool(), self.0.bool());
                let mouse = arena::MouseEvent { x: self.number(), y: self.number(), left_click, right_click };
                (arena::MouseEvent::TAG, mouse.encode_to_vec())
            }
            7..9 => {
                let length = self.0.usize(0..60);
                let text = std::iter::repeat_with(|| self.0.char(..)).take(length).collect();
                (arena::Chat::TAG, arena::Chat { text }.encode_to_vec())
            }
            _ => {
                // Those that the schema defines; a changed byte makes others, which its constraint refuses.
                let pick = arena::PickColour { colour: self.0.i32(0..5) };
                (arena::PickColour::TAG, pick.encode_to_vec())
            }
        };
        self.unknown_fields(&mut payload);
        (tag.0, payload)
    }

    /// With a right header, short or long as it likes.
    fn put(&mut self, (tag, payload): (u16, Vec<u8>), out: &mut Vec<u8>) {
        match self.0.u8(0..8) {
            0 => out.extend(extended(tag, payload.len() as u32, &payload)),
            _ => encode(Tag(tag), &payload, out),
        }
    }

    fn flip(&mut self, bytes: &mut [u8]) {
        for _ in 0..self.0.usize(1..5) {
            if let Some(byte) = self.0.choice(&mut *bytes) {
                *byte ^= 1 << self.0.u8(0..8);
            }
        }
    }

    fn request(&mut self) -> v1::Request {
        let room = format!("room {}", self.0.u8(0..20));
        let (tag, body) = match self.0.u8(0..4) {
            0 => (self.0.u32(..), self.bytes(0..40)),
            1 => (u32::from(v1::JoinRoom::TAG.0), self.bytes(0..40)),
            _ => (u32::from(v1::JoinRoom::TAG.0), v1::JoinRoom { room }.encode_to_vec()),
        };
        let key = if self.0.u8(0..8) == 0 { self.0.u64(..) } else { self.0.u64(0..10_000) };
        v1::Request { key, tag, body: body.into() }
    }

    fn ping(&mut self, frames_received: u64) -> Vec<u8> {
        let (sent_epoch, bounce_epoch) = (self.0.u64(..), self.0.u64(..));
        let (rtt_us, jitter_us) = (self.0.u32(..), self.0.u32(..));
        frame(&v1::Ping {
            sent_epoch,
            bounce_epoch,
            rtt_us,
            jitter_us,
            frames_received,
            ..v1::Ping::default()
        })
    }

    /// One frame, of a kind by its share in a thousand.
    pub fn next(&mut self, out: &mut Vec<u8>) -> After {
        let (tag, mut payload) = self.valid();
        match self.0.u32(0..1000) {
            0..800 => self.put((tag, payload), out),
            800..860 => {
                self.flip(&mut payload);
                self.put((tag, payload), out);
            }
            860..890 => {
                payload.truncate(self.0.usize(0..=payload.len()));
                self.put((tag, payload), out);
            }
            890..920 => {
                let (other_tag, other) = self.valid();
                payload.truncate(payload.len() / 2);
                payload.extend_from_slice(&other[other.len() / 2..]);
                let tag = if self.0.bool() { tag } else { other_tag };
                self.put((tag, payload), out);
            }
            920..945 => {
                let unknown = [self.0.u16(7..240), self.0.u16(256..), 249, 250, 252, 254, 255];
                let tag = *self.0.choice(&unknown).unwrap();
                let payload = self.bytes(0..300);
                self.put((tag, payload), out);
            }
            945..970 => out.extend(frame(&self.request())),
            970..978 => {
                let requests = (0..self.0.usize(0..70)).map(|_| self.request()).collect();
                out.extend(frame(&v1::Batch { requests, stop_on_error: self.0.bool() }));
            }
            978..990 => out.extend(self.ping(0)),
            // Longer than its `max_bytes`, or no UTF-8.
            990..994 => {
                let text = self.bytes(0..3000);
                payload.clear();
                encoding::bytes::encode(1, &text, &mut payload);
                self.put((arena::Chat::TAG.0, payload), out);
            }
            994..996 => {
                let filler = self.bytes(0..60_000);
                encoding::bytes::encode(1000, &filler, &mut payload);
                self.put((arena::MouseEvent::TAG.0, payload), out);
            }
            _ => {
                self.fatal((tag, payload), out);
                return After::Nothing;
            }
        }
        After::More
    }

    fn fatal(&mut self, (tag, payload): (u16, Vec<u8>), out: &mut Vec<u8>) {
        match self.0.u8(0..10) {
            // The server's to send; or a second login.
            0 => {
                let tag = *self.0.choice(&[1, 6, 240, 243, 245, 246, 247, 253]).unwrap();
                self.put((tag, payload), out);
            }
            1 => out.extend([self.0.u8(0..255), 0]),
            2 => out.extend(extended(0, self.0.u32(..), &payload)),
            3 => {
                let length = *self.0.choice(&[(64 << 10) + 1, (16 << 20) + 1, u32::MAX]).unwrap();
                out.extend(extended(tag, length, &payload));
            }
            // It has got more frames than there are.
            4 => {
                let frames_received = self.0.u64(1 << 40..);
                out.extend(self.ping(frames_received));
            }
            5 => {
                let (tag, garbage) = (*self.0.choice(&[3, 241, 242]).unwrap(), self.bytes(1..60));
                self.put((tag, garbage), out);
            }
            // The header too.
            6 => {
                let mut whole = vec![];
                self.put((tag, payload), &mut whole);
                self.flip(&mut whole[..2]);
                out.extend(whole);
            }
            7 => out.extend(self.bytes(1..300)),
            8 => out.extend(frame(&v1::Disconnect { code: self.0.u32(..), ..v1::Disconnect::default() })),
            // Cut off in the middle.
            _ => {
                let mut whole = vec![];
                self.put((tag, payload), &mut whole);
                out.extend_from_slice(&whole[..self.0.usize(1..whole.len().max(2))]);
            }
        }
    }
}
