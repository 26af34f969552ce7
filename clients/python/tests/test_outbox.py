"""What is kept of the frames on their way, and what is sent again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagwire.outbox import MAX_KEPT_BYTES, Outbox


def keeping(count: int = 0) -> Outbox:
    """One that keeps, and has written some frames."""
    outbox = Outbox()
    outbox.keeping = True
    for number in range(1, count + 1):
        outbox.append(b"%d" % number)
    outbox.take()
    return outbox


def numbers(frames: list[bytes]) -> list[int]:
    return [int(frame) for frame in frames]


def test_frames_have_their_place_when_they_are_appended_and_are_taken_once():
    outbox = Outbox()
    outbox.append(b"1")
    outbox.append(b"2")
    assert (outbox.committed, outbox.written) == (2, 0)
    assert outbox.take() == [b"1", b"2"]
    assert (outbox.committed, outbox.written) == (2, 2)
    assert outbox.take() == []


def test_all_behind_the_servers_count_is_sent_again_before_anything_new():
    outbox = keeping(5)
    outbox.append(b"6")
    assert outbox.resume(2)
    outbox.append(b"7")
    assert numbers(outbox.take()) == [3, 4, 5, 6, 7]
    assert outbox.committed == 7


def test_the_same_resume_twice_gives_the_same():
    outbox = keeping(5)
    for _ in range(2):
        assert outbox.resume(2)
        assert numbers(outbox.take()) == [3, 4, 5]
    assert outbox.resume(2)
    assert outbox.resume(2)
    assert numbers(outbox.take()) == [3, 4, 5]


def test_what_was_acknowledged_is_forgotten():
    outbox = keeping(5)
    assert outbox.acknowledge(3)
    assert (outbox.acknowledged, outbox.forgotten, outbox.kept_bytes) == (3, 3, 2)
    assert outbox.acknowledge(1)  # of a Ping that says no more than the one before
    assert outbox.acknowledged == 3
    assert outbox.resume(3)
    assert numbers(outbox.take()) == [4, 5]


def test_nothing_can_be_acknowledged_that_was_not_written():
    outbox = keeping(5)
    outbox.append(b"6")
    assert outbox.acknowledge(5)
    assert not outbox.acknowledge(6)
    outbox.take()
    assert outbox.acknowledge(6)
    assert not outbox.acknowledge(7)


@pytest.mark.parametrize("count", [1, 6])
def test_a_count_outside_of_what_is_known_changes_nothing(count):
    outbox = keeping(5)
    outbox.acknowledge(2)
    assert not outbox.resume(count)
    assert outbox.take() == []
    assert (outbox.forgotten, outbox.written) == (2, 5)
    assert outbox.resume(2)


def test_nothing_is_kept_of_a_session_that_cannot_be_resumed():
    outbox = Outbox()
    outbox.append(bytes(100))
    outbox.take()
    assert (outbox.kept_bytes, outbox.forgotten) == (0, 1)
    assert not outbox.resume(0)
    assert outbox.acknowledge(1)


def test_over_256_kib_the_oldest_is_forgotten():
    outbox = keeping()
    for _ in range(256):
        outbox.append(bytes(1024))
    outbox.take()
    assert (outbox.kept_bytes, outbox.forgotten) == (MAX_KEPT_BYTES, 0)
    outbox.append(b"x")
    assert outbox.forgotten == 0  # it counts once it is written
    outbox.take()
    assert (outbox.kept_bytes, outbox.forgotten) == (255 * 1024 + 1, 1)
    assert not outbox.resume(0)
    assert outbox.resume(1)
    assert len(outbox.take()) == 256


def test_one_that_is_larger_than_all_that_is_kept_is_forgotten_at_once():
    outbox = keeping()
    outbox.append(bytes(MAX_KEPT_BYTES + 1))
    outbox.take()
    assert (outbox.kept_bytes, outbox.forgotten) == (0, 1)


def test_a_new_session_counts_from_0_and_tells_what_was_not_acknowledged():
    outbox = keeping(5)
    outbox.acknowledge(2)
    outbox.append(b"6")
    assert outbox.reset() == 4
    assert (outbox.committed, outbox.written, outbox.acknowledged, outbox.kept_bytes) == (0, 0, 0, 0)
    assert outbox.take() == []
    outbox.append(b"1")
    assert numbers(outbox.take()) == [1]


STEP = st.one_of(
    st.tuples(st.just("append"), st.integers(1, 100_000)),
    st.tuples(st.just("take"), st.just(0)),
    st.tuples(st.just("acknowledge"), st.integers(0, 60)),
    st.tuples(st.just("resume"), st.integers(0, 60)),
)


@given(st.lists(STEP, max_size=60))
def test_whatever_happens_the_server_gets_every_frame_in_order(steps):
    """Beside it a model that keeps everything: what a server with this count gets next is always its next."""
    outbox = keeping()
    sizes: list[int] = []
    handled = 0  # what a server has that takes all at once
    for what, number in steps:
        if what == "append":
            sizes.append(number)
            outbox.append(bytes(number))
        elif what == "take":
            begins = outbox.written
            frames = outbox.take()
            assert [len(frame) for frame in frames] == sizes[begins : begins + len(frames)]
            assert begins + len(frames) == len(sizes)
            handled = len(sizes)
        elif what == "acknowledge":
            before = outbox.acknowledged
            assert outbox.acknowledge(number) == (number <= outbox.written)
            assert outbox.acknowledged == (max(before, number) if number <= outbox.written else before)
        else:
            possible = outbox.forgotten <= number <= outbox.written
            assert outbox.resume(number) == possible
            if possible:
                handled = number
                assert outbox.written == number
        assert outbox.acknowledged <= outbox.forgotten <= outbox.written <= outbox.committed == len(sizes)
        assert outbox.kept_bytes == sum(sizes[outbox.forgotten : outbox.written]) <= MAX_KEPT_BYTES
    if outbox.forgotten <= handled <= outbox.written:
        assert outbox.resume(handled)
        assert [len(frame) for frame in outbox.take()] == sizes[handled:]
