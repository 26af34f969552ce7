"""When a client connects again: the policy and its delays, without a clock."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

import arena
import tagwire
from tagwire.reconnect import QUICK_SECONDS, Delays, policy_of

PLAIN = tagwire.Reconnect(jitter=0)


def delays(policy: tagwire.Reconnect, draw: float = 0.0) -> Delays:
    return Delays(policy, lambda: draw)


def test_the_default_is_that_of_the_protocol():
    made = delays(PLAIN)
    assert [made.next() for _ in range(9)] == [0.5, 0.5, 1, 2, 4, 8, 16, 30, 30]
    assert tagwire.Reconnect() == tagwire.Reconnect(
        first_delay=0.5, factor=2.0, max_delay=30.0, jitter=1.0, give_up_after=120.0
    )


def test_after_a_lost_connection_the_first_comes_at_once():
    made = delays(PLAIN)
    assert [made.next(quick=True) for _ in range(4)] == [QUICK_SECONDS, 0.5, 1, 2]


def test_ten_thousand_clients_do_not_come_back_in_the_same_millisecond():
    made = [
        Delays(tagwire.Reconnect(), random.Random(seed).random).next(quick=True) for seed in range(10_000)
    ]
    busiest = max(
        sum(1 for one in made if millisecond <= one * 1000 < millisecond + 1) for millisecond in range(200)
    )
    assert busiest < 100


def test_full_jitter_draws_from_nothing_to_the_whole_delay():
    assert [delays(tagwire.Reconnect(), draw).next() for draw in (0.0, 0.5, 1.0)] == [0.5, 0.25, 0]
    assert [delays(tagwire.Reconnect(jitter=0.5), draw).next() for draw in (0.0, 0.5, 1.0)] == [
        0.5,
        0.375,
        0.25,
    ]


def test_a_reset_begins_with_the_shortest():
    made = delays(PLAIN)
    for _ in range(5):
        made.next()
    made.reset()
    assert made.next(quick=True) == QUICK_SECONDS


@given(
    st.floats(0, 10),
    st.floats(1, 5),
    st.floats(0, 100),
    st.floats(0, 1),
    st.lists(st.tuples(st.booleans(), st.floats(0, 60)), max_size=100),
    st.randoms(),
)
def test_no_delay_is_shorter_than_asked_for_or_longer_than_allowed(
    first, factor, longest, jitter, steps, lot
):
    policy = tagwire.Reconnect(first_delay=first, factor=factor, max_delay=longest, jitter=jitter)
    made = Delays(policy, lot.random)
    for quick, retry_after in steps:
        delay = made.next(quick=quick, retry_after=retry_after)
        assert retry_after <= delay <= retry_after + max(longest, QUICK_SECONDS if quick else 0)


def test_many_attempts_do_not_overflow():
    made = delays(tagwire.Reconnect(factor=1000.0, jitter=0))
    assert [made.next() for _ in range(5000)][-1] == 30


@pytest.mark.parametrize(
    "wrong",
    [
        {"first_delay": -1},
        {"first_delay": math.inf},
        {"factor": 0.5},
        {"max_delay": math.nan},
        {"jitter": 1.5},
        {"give_up_after": -1},
        {"give_up_after": math.nan},
    ],
)
def test_numbers_that_make_no_sense_are_refused(wrong):
    (name,) = wrong
    with pytest.raises(ValueError, match=rf"Reconnect\({name}="):
        tagwire.Reconnect(**wrong)


def test_what_the_argument_means():
    assert policy_of(False) is None
    assert policy_of(True) == tagwire.Reconnect()
    assert policy_of(PLAIN) is PLAIN
    assert tagwire.Reconnect(give_up_after=math.inf).give_up_after == math.inf
    with pytest.raises(TypeError, match="reconnect must be True, False or a Reconnect, not 5"):
        tagwire.connect("localhost", schema=arena.SCHEMA, reconnect=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="not None"):
        tagwire.connect_sync("localhost", schema=arena.SCHEMA, reconnect=None)  # type: ignore[arg-type]
