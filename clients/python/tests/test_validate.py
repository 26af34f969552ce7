"""Constraints are checked before sending, where that was asked for."""

import asyncio
import builtins
import re
import sys
from typing import Any

import pytest
from valid import v1 as valid

import arena
import tagwire
from conftest import soon
from tagwire.validate import Validator


@pytest.fixture
def validator() -> Validator:
    pytest.importorskip("protovalidate", reason="it needs Python 3.11")
    return Validator()


def test_a_message_that_keeps_its_constraints_passes(validator: Validator) -> None:
    validator.check(valid.Item(name="a"))


def test_a_broken_rule_is_named_with_its_field(validator: Validator) -> None:
    message = valid.Lists(required=[1], items=[valid.Item(name="a"), valid.Item(name="far too long")])
    with pytest.raises(tagwire.InvalidMessage) as caught:
        validator.check(message)
    error = caught.value
    assert (error.name, error.field, error.rule) == ("valid.v1.Lists", "items[1].name", "string.max_len")
    assert str(error) == "valid.v1.Lists: items[1].name: string.max_len: must be at most 8 characters"
    assert isinstance(error, ValueError)
    assert error.reason == "must be at most 8 characters"


def test_a_rule_of_a_whole_message_has_no_field(validator: Validator) -> None:
    with pytest.raises(
        tagwire.InvalidMessage, match=re.escape("valid.v1.Choices: message.oneof: one of")
    ) as caught:
        validator.check(valid.Choices(text="ab"))
    assert caught.value.field == ""


def test_keys_of_maps_are_shown(validator: Validator) -> None:
    with pytest.raises(tagwire.InvalidMessage) as caught:
        validator.check(valid.Maps(keys={"a": 1}))
    assert caught.value.field == 'keys["a"]'
    with pytest.raises(tagwire.InvalidMessage) as caught:
        validator.check(valid.Maps(items={True: valid.Item()}))
    assert caught.value.field == "items[true].name"


def test_without_the_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "protovalidate":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "protovalidate", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=re.escape("pip install 'tagwire[validate]'")):
        Validator()
    schema = sys.modules["valid"].SCHEMA
    with pytest.raises(ImportError, match="protovalidate"):
        tagwire.connect("localhost", schema=schema, validate=True)
    # And nobody else needs it.
    valid.Lists(required=[1]).SerializeToString()
    tagwire.connect("localhost", schema=schema)


async def test_what_breaks_a_rule_is_not_sent(server: Any, validator: Validator) -> None:
    async with server.connect("anna", validate=True) as client:
        with pytest.raises(tagwire.InvalidMessage, match=r"colour: enum\.defined_only"):
            await client.send(arena.PickColour(colour=9))
        with pytest.raises(tagwire.InvalidMessage):
            client.send_soon(arena.PickColour(colour=9))
        await client.send(arena.PickColour(colour=arena.Colour.COLOUR_BLUE))
        assert await anext(aiter(client)) == arena.PickColour(colour=arena.Colour.COLOUR_BLUE)


def test_in_a_game_loop_too(server: Any, validator: Validator) -> None:
    with (
        tagwire.connect_sync(
            server.address, schema=arena.SCHEMA, username="a", password="welcome", validate=True
        ) as client,
        pytest.raises(tagwire.InvalidMessage, match=r"colour: enum\.defined_only"),
    ):
        client.send(arena.PickColour(colour=9))


async def test_the_server_says_the_same(server: Any) -> None:
    async with server.connect("anna") as client:
        arrived: asyncio.Future[tagwire.Noticed] = asyncio.get_running_loop().create_future()
        client.on(tagwire.Noticed, arrived.set_result)
        running = asyncio.ensure_future(client.run())
        await client.send(arena.PickColour(colour=9))
        notice = await soon(arrived)
        running.cancel()
        assert notice.reason == tagwire.NoticeReason.INVALID
        assert notice.text.startswith("arena.v1.PickColour: colour: enum.defined_only: ")
