//! Frames: golden bytes, the limits, and properties over any bytes and any cutting of them.

use proptest::prelude::*;
use tagwire::Tag;
use tagwire::frame::{DecodeError, Decoder, Limits, encode};

type Owned = (u16, Vec<u8>);

/// All frames of a stream that arrives in these chunks, and what ended it.
fn decode<'a>(
    chunks: impl IntoIterator<Item = &'a [u8]>,
    limits: Limits,
) -> (Vec<Owned>, Option<DecodeError>) {
    let mut decoder = Decoder::new(limits);
    let mut frames = vec![];
    for mut chunk in chunks {
        loop {
            match decoder.next(&mut chunk) {
                Ok(Some(frame)) => frames.push((frame.tag.0, frame.payload.to_vec())),
                Ok(None) => break,
                Err(error) => return (frames, Some(error)),
            }
        }
        assert!(chunk.is_empty(), "`None` says that all input is used");
    }
    (frames, None)
}

fn encoded(frames: &[Owned]) -> Vec<u8> {
    let mut out = vec![];
    frames.iter().for_each(|(tag, payload)| encode(Tag(*tag), payload, &mut out));
    out
}

#[test]
fn the_short_form_is_used_whenever_it_fits() {
    let cases: [(u16, usize, &[u8]); 6] = [
        (1, 0, &[0, 1]),
        (2, 255, &[255, 2]),
        (255, 1, &[1, 255]),
        (2, 256, &[0xff, 0, 0, 2, 0, 0, 1, 0]),
        (256, 0, &[0xff, 0, 1, 0, 0, 0, 0, 0]),
        (65535, 65536, &[0xff, 0, 0xff, 0xff, 0, 1, 0, 0]),
    ];
    for (tag, length, header) in cases {
        let bytes = encoded(&[(tag, vec![9; length])]);
        assert_eq!(bytes[..header.len()], *header, "tag {tag}, {length} bytes");
        assert_eq!(bytes.len(), header.len() + length);
    }
}

#[test]
fn both_forms_are_accepted() {
    let (frames, error) = decode([&[1, 2, 7, 0xff, 0, 0, 2, 0, 0, 0, 1, 7][..]], Limits::default());
    assert_eq!((frames, error), (vec![(2, vec![7]), (2, vec![7])], None));
}

#[test]
fn tag_zero_is_malformed_but_for_the_extended_mark() {
    for length in 0..=254 {
        let (_, error) = decode([&[length, 0][..]], Limits::default());
        assert_eq!(error, Some(DecodeError::ShortTagZero { length }));
    }
    assert_eq!(decode([&[0xff, 0, 0, 0][..]], Limits::default()).1, Some(DecodeError::ExtendedTagZero));
}

#[test]
fn a_frame_over_the_limit_is_refused_by_its_header_alone() {
    let limits = Limits { max_frame_bytes: 1000, only: None };
    assert_eq!(decode([&[0xff, 0, 0, 2, 0, 0, 3, 0xe8][..]], limits).1, None);
    let over = DecodeError::TooLarge { tag: Tag(2), length: 1001, limit: 1000 };
    assert_eq!(decode([&[0xff, 0, 0, 2, 0, 0, 3, 0xe9][..]], limits).1, Some(over));
    let over = DecodeError::TooLarge { tag: Tag(2), length: u64::from(u32::MAX), limit: 1000 };
    assert_eq!(decode([&[0xff, 0, 0, 2, 0xff, 0xff, 0xff, 0xff][..]], limits).1, Some(over));
    let small = Limits { max_frame_bytes: 5, only: None };
    assert!(matches!(decode([&[6, 2][..]], small).1, Some(DecodeError::TooLarge { length: 6, .. })));
}

#[test]
fn only_one_tag_can_be_asked_for() {
    let limits = Limits { max_frame_bytes: 8192, only: Some(Tag(1)) };
    assert_eq!(decode([&[0, 1][..]], limits).0, [(1, vec![])]);
    assert_eq!(decode([&[0, 2][..]], limits).1, Some(DecodeError::NotNow { tag: Tag(2), only: Tag(1) }));
}

fn frames() -> impl Strategy<Value = Vec<Owned>> {
    let payload = prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 250..260),
        1 => prop::collection::vec(any::<u8>(), 1000..3000),
    ];
    let tag = prop_oneof![3 => 1..=255u16, 1 => 1..=u16::MAX];
    prop::collection::vec((tag, payload), 0..12)
}

proptest! {
    #[test]
    fn any_cutting_gives_the_same_frames(frames in frames(), cuts in prop::collection::vec(1..300usize, 1..40)) {
        let bytes = encoded(&frames);
        let mut chunks = vec![];
        let (mut rest, mut cuts) = (bytes.as_slice(), cuts.iter().cycle());
        while let Some(cut) = cuts.next().filter(|_| !rest.is_empty()) {
            let (chunk, after) = rest.split_at((*cut).min(rest.len()));
            chunks.push(chunk);
            rest = after;
        }
        prop_assert_eq!(decode(chunks, Limits::default()), (frames.clone(), None));
        prop_assert_eq!(decode(bytes.chunks(1), Limits::default()), (frames, None));
    }

    #[test]
    fn any_bytes_decode_the_same_however_they_are_cut(bytes in prop::collection::vec(any::<u8>(), 0..2000), size in 1..64usize) {
        let limits = Limits { max_frame_bytes: 300, only: None };
        prop_assert_eq!(decode([bytes.as_slice()], limits), decode(bytes.chunks(size), limits));
    }

    #[test]
    fn what_is_encoded_is_decoded(tag in 1..=u16::MAX, payload in prop::collection::vec(any::<u8>(), 0..600)) {
        let frames = vec![(tag, payload)];
        prop_assert_eq!(decode([encoded(&frames).as_slice()], Limits::default()), (frames, None));
    }
}
