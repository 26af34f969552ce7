"""Frames: golden bytes of the reference system, any chunking, any input."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arena
from tagwire.frame import Decoder, Frame, FrameError, FrameTooLarge, MalformedFrame, encode
from tagwire.gen.v1 import Ping, PlayerLogin

LIMIT = 64 * 1024

# What the reference system sends and takes: bytes, tag, message.
GOLDEN = [
    (
        "12010a07706c6179657231120777656c636f6d65",
        1,
        PlayerLogin(username="player1", password="welcome"),
    ),
    ("10010a07706c6179657231120577726f6e67", 1, PlayerLogin(username="player1", password="wrong")),
    ("0e010a0448616e731206666f6f626172", 1, PlayerLogin(username="Hans", password="foobar")),
    ("0001", 1, PlayerLogin()),
    ("040208011001", 2, arena.MouseEvent(x=1, y=1)),
    ("0002", 2, arena.MouseEvent()),
    ("0702087810d4021801", 2, arena.MouseEvent(x=120, y=340, left_click=True)),
    (
        "120208ac0210fbffffffffffffffff0118012001",
        2,
        arena.MouseEvent(x=300, y=-5, left_click=True, right_click=True),
    ),
    ("090308c0aabbba9e8dfd02", 3, Ping(sentEpoch=1676110573000000)),
    (
        "1b0308c0aabbba9e8dfd0210b4aebbba9e8dfd0218a8b2bbba9e8dfd02",
        3,
        Ping(sentEpoch=1676110573000000, bounceEpoch=1676110573000500, receivedEpoch=1676110573001000),
    ),
]


def all_frames(decoder: Decoder) -> list[Frame]:
    frames = []
    while (frame := decoder.next()) is not None:
        frames.append(frame)
    return frames


@pytest.mark.parametrize(("data", "tag", "message"), GOLDEN, ids=[data for data, _, _ in GOLDEN])
def test_golden_bytes_of_the_reference_both_ways(data, tag, message):
    assert encode(tag, message.SerializeToString()).hex() == data
    decoder = Decoder(LIMIT)
    decoder.feed(bytes.fromhex(data))
    frame = decoder.next()
    assert frame is not None
    assert frame.tag == tag
    assert type(message).FromString(frame.payload) == message
    assert frame.size == len(data) // 2
    assert decoder.next() is None


@pytest.mark.parametrize(
    ("tag", "size", "header"),
    [
        (2, 0, "0002"),
        (255, 255, "ffff"),
        (1, 255, "ff01"),
        (2, 256, "ff00000200000100"),
        (256, 0, "ff00010000000000"),
        (65535, 3, "ff00ffff00000003"),
    ],
)
def test_the_short_form_is_used_whenever_it_fits(tag, size, header):
    assert encode(tag, bytes(size)) == bytes.fromhex(header) + bytes(size)


@pytest.mark.parametrize("tag", [0, -1, 65536])
def test_a_tag_outside_the_range_is_not_encoded(tag):
    with pytest.raises(ValueError, match="tag"):
        encode(tag, b"")


def test_an_extended_frame_that_would_fit_the_short_form_is_accepted():
    decoder = Decoder(LIMIT)
    decoder.feed(bytes.fromhex("ff00000200000002") + b"ab")
    assert decoder.next() == Frame(2, b"ab", 10)


@pytest.mark.parametrize("data", ["0000", "0100", "fe00", "ff000000", "ff000000000000ff"])
def test_any_other_header_with_tag_0_is_malformed(data):
    decoder = Decoder(LIMIT)
    decoder.feed(bytes.fromhex(data))
    with pytest.raises(MalformedFrame):
        decoder.next()


def test_a_frame_over_the_limit_is_refused_by_its_header_alone():
    decoder = Decoder(1000)
    decoder.feed(bytes.fromhex("ff000002000003e8"))
    assert decoder.next() is None  # exactly the limit
    decoder = Decoder(1000)
    decoder.feed(bytes.fromhex("ff000002000003e9"))
    with pytest.raises(FrameTooLarge, match=r"1001 bytes .* limit 1000"):
        decoder.next()


def test_a_short_frame_over_a_small_limit_is_refused():
    decoder = Decoder(10)
    decoder.feed(b"\x0b\x02")
    with pytest.raises(FrameTooLarge):
        decoder.next()


def test_frames_before_a_malformed_one_come_out_first_and_the_error_stays():
    decoder = Decoder(LIMIT)
    decoder.feed(encode(2, b"a") + b"\x00\x00" + encode(2, b"b"))
    assert decoder.next() == Frame(2, b"a", 3)
    for _ in range(2):
        with pytest.raises(MalformedFrame):
            decoder.next()
    decoder.feed(encode(2, b"c"))
    with pytest.raises(MalformedFrame):
        decoder.next()
    assert decoder.pending_bytes == 0


def test_the_limit_can_change_between_frames():
    decoder = Decoder(10)
    decoder.feed(encode(2, b"a") + encode(2, bytes(300)))
    assert decoder.next() == Frame(2, b"a", 3)
    decoder.max_bytes = 300
    assert decoder.next() == Frame(2, bytes(300), 308)


frames_of_any_size = st.lists(
    st.tuples(
        st.integers(1, 65535), st.one_of(st.binary(max_size=20), st.binary(min_size=250, max_size=300))
    ),
    max_size=12,
)


@given(frames_of_any_size, st.lists(st.integers(0, 4000), max_size=30))
def test_any_cutting_of_the_bytes_gives_the_same_frames(frames, cuts):
    stream = b"".join(encode(tag, payload) for tag, payload in frames)
    places = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    decoder = Decoder(LIMIT)
    found = []
    for start, end in itertools.pairwise(places):
        decoder.feed(stream[start:end])
        found += all_frames(decoder)
    assert [(frame.tag, frame.payload) for frame in found] == frames
    assert sum(frame.size for frame in found) == len(stream)
    assert decoder.pending_bytes == 0


@given(frames_of_any_size)
def test_byte_by_byte_gives_the_same_frames(frames):
    decoder = Decoder(LIMIT)
    found = []
    for byte in b"".join(encode(tag, payload) for tag, payload in frames):
        decoder.feed(bytes((byte,)))
        found += all_frames(decoder)
    assert [(frame.tag, frame.payload) for frame in found] == frames


@given(st.binary(max_size=2000), st.integers(0, 300), st.integers(1, 100))
def test_no_input_raises_anything_but_the_decoders_error(data, limit, step):
    decoder = Decoder(limit)
    try:
        for start in range(0, len(data), step):
            decoder.feed(data[start : start + step])
            for frame in all_frames(decoder):
                assert 1 <= frame.tag <= 65535
                assert len(frame.payload) <= limit
            assert decoder.pending_bytes <= limit + 8
    except FrameError:
        assert decoder.pending_bytes == 0


def test_only_a_large_frame_is_put_together_from_pieces():
    decoder = Decoder(1000)
    short, large = encode(5, bytes(255)), encode(5, bytes(256))
    decoder.feed(short + short[:-1])
    assert decoder.next() is not None
    assert decoder.next() is None
    assert (decoder.chunk, bytes(decoder.begun)) == (short[:-1], b"")  # what was given out is not kept
    decoder.feed(short[-1:] + large[:-1])
    assert decoder.next() is not None
    assert decoder.next() is None
    assert (decoder.chunk, bytes(decoder.begun)) == (b"", large[:-1])
    assert decoder.pending_bytes == len(large) - 1
    decoder.feed(large[-1:])
    assert decoder.next() == (5, bytes(256), len(large))


def test_a_header_that_announces_4_gib_allocates_nothing():
    tracemalloc.start()
    try:
        decoder = Decoder(LIMIT)
        decoder.feed(bytes.fromhex("ff000002ffffffff"))
        with pytest.raises(FrameTooLarge):
            decoder.next()
        decoder.feed(bytes(1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100_000
