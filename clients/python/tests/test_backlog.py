"""The bounded queue: what is kept, replaced, dropped and refused."""

from __future__ import annotations

from collections import OrderedDict

from hypothesis import given
from hypothesis import strategies as st

from tagwire.backlog import Backlog, key_of
from tagwire.events import Received
from tagwire.gen.v1 import Welcome


def drained(backlog: Backlog[str]) -> list[str]:
    items = []
    while (item := backlog.pop()) is not None:
        items.append(item)
    return items


def test_while_the_taker_keeps_up_everything_comes_out_in_order():
    backlog: Backlog[str] = Backlog(max_items=10, max_bytes=100)
    for name, delivery in (("a", "ORDERED"), ("b", "LATEST"), ("c", "LATEST"), ("d", "UNRELIABLE")):
        assert backlog.push(name, 1, delivery, "key", behind=False)
    assert (len(backlog), backlog.bytes) == (4, 4)
    assert drained(backlog) == ["a", "b", "c", "d"]
    assert (len(backlog), backlog.bytes, backlog.dropped) == (0, 0, 0)


def test_what_is_taken_together_is_counted_and_can_be_given_back():
    backlog: Backlog[Received] = Backlog(max_items=10, max_bytes=100)
    items: list[Received] = [(Welcome(), None, size, "ORDERED", 1) for size in (1, 2, 4, 8)]
    assert backlog.extend(items, at_most=10)
    first = backlog.take(3)
    assert (first, len(backlog), backlog.bytes) == (items[:3], 1, 8)
    backlog.give_back(first[1:])
    assert (len(backlog), backlog.bytes) == (3, 14)
    assert (backlog.take(3), len(backlog), backlog.bytes) == (items[1:], 0, 0)


def test_behind_a_latest_one_replaces_the_older_of_the_same_key_at_the_end():
    backlog: Backlog[str] = Backlog(max_items=10, max_bytes=100)
    backlog.push("old", 1, "LATEST", "k", behind=False)
    backlog.push("other", 1, "LATEST", "x", behind=True)
    backlog.push("ordered", 1, "ORDERED", "k", behind=True)
    backlog.push("new", 5, "LATEST", "k", behind=True)
    assert (backlog.bytes, backlog.dropped) == (7, 1)
    assert drained(backlog) == ["other", "ordered", "new"]


def test_behind_an_unreliable_one_is_dropped():
    backlog: Backlog[str] = Backlog(max_items=10, max_bytes=100)
    assert backlog.push("a", 1, "UNRELIABLE", "k", behind=True)
    assert (len(backlog), backlog.dropped) == (0, 1)


def test_what_has_been_taken_is_not_replaced():
    backlog: Backlog[str] = Backlog(max_items=10, max_bytes=100)
    backlog.push("a", 1, "LATEST", "k", behind=True)
    assert backlog.pop() == "a"
    backlog.push("b", 1, "LATEST", "k", behind=True)
    assert drained(backlog) == ["b"]
    assert backlog.dropped == 0


def test_a_full_one_refuses_and_nothing_changes():
    backlog: Backlog[str] = Backlog(max_items=2, max_bytes=100)
    backlog.push("a", 1, "ORDERED", "k", behind=True)
    backlog.push("b", 1, "LATEST", "k", behind=True)
    assert not backlog.push("c", 1, "ORDERED", "k", behind=True)
    assert not backlog.push("d", 1, "LATEST", "other", behind=True)
    assert not backlog.push("too large", 100, "LATEST", "k", behind=True)
    assert backlog.push("e", 1, "LATEST", "k", behind=True)  # in the place of b
    assert drained(backlog) == ["a", "e"]


def test_bytes_are_limited_but_one_item_always_fits():
    backlog: Backlog[str] = Backlog(max_items=100, max_bytes=10)
    assert backlog.push("large", 50, "ORDERED", None, behind=True)
    assert not backlog.push("a", 1, "ORDERED", None, behind=True)
    assert drained(backlog) == ["large"]


def test_what_is_replaced_makes_room_for_its_bytes():
    backlog: Backlog[str] = Backlog(max_items=100, max_bytes=10)
    backlog.push("a", 1, "ORDERED", None, behind=True)
    backlog.push("old", 8, "LATEST", "k", behind=True)
    assert not backlog.push("too large", 10, "LATEST", "k", behind=True)
    assert backlog.push("new", 9, "LATEST", "k", behind=True)
    assert drained(backlog) == ["a", "new"]


def test_clear_forgets_all():
    backlog: Backlog[str] = Backlog(max_items=2, max_bytes=10)
    backlog.push("a", 1, "LATEST", "k", behind=True)
    backlog.clear()
    assert (len(backlog), backlog.bytes, backlog.pop()) == (0, 0, None)
    assert backlog.push("b", 1, "LATEST", "k", behind=True)
    assert drained(backlog) == ["b"]


steps = st.lists(
    st.one_of(
        st.tuples(
            st.integers(0, 12),
            st.sampled_from(["ORDERED", "LATEST", "UNRELIABLE"]),
            st.integers(0, 2),
            st.booleans(),
        ),
        st.none(),
    ),
    max_size=60,
)


@given(steps)
def test_it_does_what_a_simple_model_does(steps):
    backlog: Backlog[int] = Backlog(max_items=6, max_bytes=30)
    model: OrderedDict[int, tuple[int, str, int]] = OrderedDict()
    for number, step in enumerate(steps):
        if step is None:
            expected = model.popitem(last=False)[0] if model else None
            assert backlog.pop() == expected
            continue
        size, delivery, key, behind = step
        accepted = backlog.push(number, size, delivery, key, behind=behind)
        if delivery == "UNRELIABLE" and behind:
            assert accepted
            continue
        kept = model.copy()
        if delivery == "LATEST" and behind:
            older = [n for n, (_, how, k) in kept.items() if (how, k) == ("LATEST", key)]
            if older:
                del kept[older[-1]]
        fits = not kept or (len(kept) < 6 and sum(s for s, _, _ in kept.values()) + size <= 30)
        assert accepted == fits
        if fits:
            kept[number] = (size, delivery, key)
            model = kept
        assert len(backlog) == len(model) <= 6
        assert backlog.bytes == sum(s for s, _, _ in model.values())
        # What was replaced is not held much longer.
        assert sum(entry.size for entry in backlog.entries) <= backlog.bytes + backlog.max_bytes // 8
    while model:
        assert backlog.pop() == model.popitem(last=False)[0]
    assert backlog.pop() is None


def test_behind_the_newest_of_those_queued_together_is_replaced():
    backlog: Backlog[Received] = Backlog(max_items=10, max_bytes=100)
    first, second, third = ((Welcome(), None, 5, "LATEST", 1) for _ in range(3))
    assert backlog.push(first, 5, "LATEST", key_of(first), behind=True)
    assert backlog.extend([second], at_most=10)
    assert backlog.push(third, 5, "LATEST", key_of(third), behind=True)
    assert (backlog.pop() is first, backlog.pop() is third, backlog.pop()) == (True, True, None)
    assert (backlog.bytes, backlog.dropped) == (0, 1)


def test_together_no_more_are_queued_than_may_wait():
    backlog: Backlog[Received] = Backlog(max_items=10, max_bytes=100)
    small: Received = (Welcome(), None, 5, "ORDERED", 1)
    large: Received = (Welcome(), None, 81, "ORDERED", 1)
    assert backlog.extend([small] * 3, at_most=3)
    assert not backlog.extend([small], at_most=3)
    assert backlog.extend([small], at_most=4)
    assert not backlog.extend([large], at_most=10)
    assert not backlog.extend([small] * 7, at_most=20)
    assert (len(backlog), backlog.bytes) == (4, 20)


def queued(backlog: Backlog[Received], one: Received, *, behind: bool) -> bool:
    _, _, size, delivery, _ = one
    return backlog.push(one, size, delivery, key_of(one), behind=behind)


KNOWING = st.tuples(st.integers(0, 3), st.sampled_from(["ORDERED", "LATEST", "UNRELIABLE"]))


@given(
    st.lists(
        st.one_of(
            st.lists(KNOWING, max_size=4).map(lambda some: ("together", some)),
            KNOWING.map(lambda one: ("behind", [one])),
            st.just(("pop", [])),
            st.just(("remove", [])),
        )
    )
)
def test_what_is_queued_together_is_what_one_by_one_would_be(steps):
    together: Backlog[Received] = Backlog(max_items=8, max_bytes=40)
    alone: Backlog[Received] = Backlog(max_items=8, max_bytes=40)
    kept: list[Received] = []
    for what, some in steps:
        items: list[Received] = [(Welcome(), None, 5, delivery, key) for key, delivery in some]
        if what == "together":
            if together.extend(items, at_most=8):
                assert all(queued(alone, one, behind=False) for one in items)
            else:
                assert len(alone) + len(items) > 8
        elif what == "behind":
            (one,) = items
            assert queued(together, one, behind=True) == queued(alone, one, behind=True)
        elif what == "pop":
            assert together.pop() is alone.pop()
        elif kept:
            together.remove(kept[-1])
            alone.remove(kept[-1])
        kept += items  # or gone by now, which `remove` takes
        assert (len(together), together.bytes) == (len(alone), alone.bytes)
        assert bool(together.entries) == bool(len(together))
        assert together.dropped == alone.dropped
    while (item := together.pop()) is not None:
        assert item is alone.pop()
    assert alone.pop() is None
