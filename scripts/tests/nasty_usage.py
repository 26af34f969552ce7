"""How a game uses printed stubs. mypy reads it: what is right passes, what is wrong does not.

With `--strict`, an ignore that is not needed is an error itself: so each of them proves that a mistake is
found. The function `right` is run, too, by `test_stubs.py`.
"""

import datetime

import nasty
from nasty import common, v1
from nasty.common.geo import Place
from nasty.google.protobuf import Timestamp


def right() -> None:
    everything = nasty.Everything(
        an_int32=1,
        a_string="s",
        some_bytes=b"b",
        maybe=None,
        mood=v1.Everything.Mood.MOOD_GOOD,
        numbers=[1, 2],
        counts={"a": 1},
        by_id={7: v1.Everything.Inner(x=1)},
        at=datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc),
        lasts=datetime.timedelta(seconds=2),
        root=nasty.Root(place=Place(east=1.5)),
        way=common.geo.Place.WAY_ROAD,
        circle=2,
    )
    number: int = everything.an_int32
    everything.an_int32 = number + 1
    everything.inner.next.x = 3
    everything.numbers.append(4)
    everything.inners.add(x=5)
    everything.counts["b"] = 2
    everything.by_id[8].x = 9
    everything.at.GetCurrentTime()
    everything.times["now"].CopyFrom(Timestamp(seconds=1))
    mood: v1.Everything.Mood.ValueType = everything.mood
    name: str = v1.Everything.Mood.Name(mood)
    assert v1.Everything.Mood.Value(name) == v1.Everything.MOOD_FINE == v1.Everything.Mood.MOOD_GOOD
    assert everything.level == nasty.Level.LEVEL_UNSPECIFIED
    assert not everything.HasField("maybe")
    assert everything.HasField("shape")
    everything.ClearField("shape")
    shape = everything.WhichOneof("shape")
    assert shape is None or shape == "circle" or shape == "box"
    same: nasty.Everything = nasty.Everything.FromString(everything.SerializeToString())
    assert same == everything
    keywords = nasty.Keywords(self=1, bytes=b"x", int=2, property="p", type=3, match=4)
    keywords.bytes = keywords.bytes + b"y"
    setattr(keywords, "from", 5)
    assert getattr(keywords, "from") == 5
    assert nasty.Uses(n=nasty.None_(x=1), s=nasty.SCHEMA_(), p=nasty.pass_.fine).p == 2
    assert nasty.Old(must=1, inside=nasty.Old.Inside(yes=True)).may == "d"
    assert nasty.SCHEMA.name == "nasty"
    match everything:
        case nasty.Everything(an_int32=2, mood=nasty.Everything.Mood.MOOD_GOOD):
            pass
        case _:
            raise AssertionError


def wrong(everything: nasty.Everything, ask: nasty.AskRequest) -> None:
    everything.an_int32 = "text"  # type: ignore[assignment]
    everything.nowhere = 1  # type: ignore[attr-defined]
    everything.inner = v1.Everything.Inner()  # type: ignore[misc]
    everything.mood = 1  # type: ignore[assignment]
    everything.mood = nasty.Level.LEVEL_LOW  # type: ignore[assignment]
    everything.HasField("an_int32")  # type: ignore[arg-type]
    everything.ClearField("nowhere")  # type: ignore[arg-type]
    everything.WhichOneof("circle")  # type: ignore[call-overload]
    everything.numbers.append("text")  # type: ignore[arg-type]
    everything.counts[1] = 1  # type: ignore[index]
    nasty.Everything(1)  # type: ignore[call-arg]
    nasty.Everything(nowhere=1)  # type: ignore[call-arg]
    nasty.Everything(inner=nasty.Root())  # type: ignore[arg-type]
    ask.HasField("question")  # type: ignore[arg-type]
    nasty.Twin2()  # type: ignore[attr-defined]
    nasty.Level.LEVEL_HIGH  # type: ignore[attr-defined]  # noqa: B018
