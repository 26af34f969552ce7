"""The vectors in conformance/vectors, as this client reads them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from google.protobuf import json_format

from conftest import ROOT, frame_of, welcome
from tagwire.frame import Decoder, FrameError, FrameTooLarge, encode
from tagwire.session import Session
from test_session import Clock

sys.path.insert(0, str(ROOT / "conformance" / "gen" / "python"))

import conformance

FRAMES, MESSAGES = 57, 157
"""How many there are; fewer is a failure."""


def vectors(name: str) -> list[dict[str, Any]]:
    return json.loads((ROOT / "conformance" / "vectors" / name).read_text("utf-8"))  # type: ignore[no-any-return]


def read(vector: dict[str, Any], chunks: list[bytes]) -> tuple[list[dict[str, Any]], str | None, int]:
    decoder, found = Decoder(vector["limit"]), []
    try:
        for chunk in chunks:
            decoder.feed(chunk)
            while (frame := decoder.next()) is not None:
                found.append({"tag": frame.tag, "payload": frame.payload.hex()})
    except FrameTooLarge:
        return found, "too_large", 0
    except FrameError:
        return found, "malformed", 0
    return found, None, decoder.pending_bytes


def test_every_frame_is_read_however_it_is_cut():
    everything = vectors("frames.json")
    assert len(everything) == FRAMES
    for vector in everything:
        if vector["error"] == "not_now":
            continue  # a server's matter
        data = bytes.fromhex(vector["hex"])
        ways = [[data], [bytes((byte,)) for byte in data]]
        ways += [[data[:at], data[at:]] for at in range(len(data))]
        for chunks in ways:
            assert read(vector, chunks) == (vector["frames"], vector["error"], vector["rest"]), vector["name"]
        written = b"".join(encode(one["tag"], bytes.fromhex(one["payload"])) for one in vector["frames"])
        assert (written == data) is vector["shortest"], vector["name"]


def test_every_message_is_read_or_dropped_and_counted():
    everything = vectors("messages.json")
    assert len(everything) == MESSAGES
    for vector in everything:
        name, payload = vector["name"], bytes.fromhex(vector["hex"])
        kind = conformance.SCHEMA.message(vector["type"])
        clock = Clock()
        session = Session(conformance.SCHEMA, username="player1")
        session.start(clock())
        session.receive_data(frame_of(welcome()), clock())
        session.events()
        session.receive_data(encode(conformance.SCHEMA.rules_of(kind).tag, payload), clock())
        events = session.events()
        if vector["client"] == "either":
            assert len(events) + session.dropped.undecodable == 1, name
        elif vector["client"] == "drops":
            assert (events, session.dropped.undecodable) == ([], 1), name
        else:
            (event,) = events
            assert type(event) is tuple, name
            message = event[0]
            again = message.SerializeToString(deterministic=True).hex()
            assert again == vector.get("again", again), name
            message.DiscardUnknownFields()
            told = json_format.ParseDict(vector["json"], kind())
            # As bytes, for NaN is not equal to itself.
            found = message.SerializeToString(deterministic=True)
            assert found == told.SerializeToString(deterministic=True), name


@pytest.mark.parametrize("name", ["frames.json", "messages.json"])
def test_each_vector_says_what_it_shows(name):
    for vector in vectors(name):
        assert vector["name"], vector
        assert vector["meaning"], vector


def test_the_vectors_are_those_that_the_script_writes():
    script = ROOT / "conformance" / "vectors" / "make.py"
    done = subprocess.run(
        [sys.executable, str(script), "--check"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stdout + done.stderr
