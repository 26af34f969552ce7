"""The server's clock on a clock of the test's own."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tagwire.clock import SAMPLES, ServerClock, Steady

AHEAD = 3_600_000_000.0  # microseconds that the server's clock is ahead of the monotonic one


def delayed(clock: ServerClock, at: float, one_way: float) -> None:
    """The server sends its time, which comes some seconds later. Both ways are as fast."""
    clock.sample(int(at * 1e6 + AHEAD), 2e6 * one_way, at + one_way)


def test_nothing_is_known_before_the_first_sample():
    assert ServerClock().at(5.0) is None


def test_a_round_trip_that_is_not_known_adds_nothing():
    clock = ServerClock()
    clock.sample(7_000_000, 0.0, 1.0)
    assert clock.at(3.0) == pytest.approx(9_000_000)


@given(st.lists(st.floats(0.0001, 2.0), min_size=1, max_size=3 * SAMPLES))
def test_the_estimate_is_that_of_the_fastest_of_the_last_samples(ways):
    clock = ServerClock()
    for number, way in enumerate(ways):
        delayed(clock, 10.0 * number, way)
    now = 10.0 * len(ways)
    assert clock.at(now) == pytest.approx(now * 1e6 + AHEAD, abs=10)


@given(st.lists(st.floats(-0.9, 3.0), min_size=1))
def test_steady_readings_never_go_back_by_less_than_a_second(steps):
    steady, estimate = Steady(), 1000.0
    last = steady(estimate)
    for step in steps:
        estimate = max(estimate + step, last - 1.0)
        reading = steady(estimate)
        assert reading == max(estimate, last)
        last = reading


def test_a_clock_that_was_set_back_is_believed():
    steady = Steady()
    assert [steady(reading) for reading in (100.0, 99.5, 100.1, 40.0, 39.5)] == [
        100.0,
        100.0,
        100.1,
        40.0,
        40.0,
    ]
