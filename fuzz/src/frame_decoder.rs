//! Any bytes, cut anyhow: the same frames, none over the limit.
//!
//! Input: number of sizes, sizes of the pieces, the stream.

use tagwire::Tag;
use tagwire::frame::{DecodeError, Decoder, Limits, encode};

use super::input::{Input, cut};

type Frames = Vec<(Tag, Vec<u8>)>;

const LIMITS: [Limits; 3] = [
    Limits { max_frame_bytes: 64 * 1024, only: None },
    Limits { max_frame_bytes: 300, only: None },
    Limits { max_frame_bytes: 8 * 1024, only: Some(Tag(1)) },
];

/// The frames, what ended them, and whether all of the stream is in them.
fn decode(pieces: &[&[u8]], limits: Limits) -> (Frames, Result<bool, DecodeError>) {
    let mut decoder = Decoder::new(limits);
    let mut frames = vec![];
    for mut piece in pieces.iter().copied() {
        loop {
            let before = piece.len();
            match decoder.next(&mut piece) {
                Ok(Some(frame)) => {
                    assert!(frame.tag.0 != 0, "tag 0 is no message");
                    assert!(frame.payload.len() <= limits.max_frame_bytes, "over the limit");
                    assert!(limits.only.is_none_or(|only| only == frame.tag), "not the tag that is taken");
                    frames.push((frame.tag, frame.payload.to_vec()));
                }
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
            assert!(piece.len() <= before);
        }
        assert!(piece.is_empty(), "`None` says that all input is used");
    }
    (frames, Ok(decoder.is_empty()))
}

pub fn run(data: &[u8]) {
    let mut input = Input(data);
    let sizes = input.bytes();
    let stream = input.0;
    for limits in LIMITS {
        let whole = decode(&[stream], limits);
        assert_eq!(decode(&cut(stream, sizes), limits), whole, "cut at {sizes:?}");
        assert_eq!(decode(&cut(stream, &[1]), limits), whole, "cut everywhere");

        let (frames, _) = whole;
        let (mut shortest, mut extended) = (vec![], vec![]);
        for (tag, payload) in &frames {
            encode(*tag, payload, &mut shortest);
            extended.extend_from_slice(&[0xff, 0]);
            extended.extend_from_slice(&tag.0.to_be_bytes());
            extended.extend_from_slice(&(payload.len() as u32).to_be_bytes());
            extended.extend_from_slice(payload);
        }
        assert!(shortest.len() <= stream.len(), "the short form is used whenever it fits");
        for again in [shortest, extended] {
            assert_eq!(decode(&cut(&again, sizes), limits), (frames.clone(), Ok(true)), "encoded again");
        }
    }
}
