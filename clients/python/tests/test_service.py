"""The printed classes of services, those of the golden schema `hall`, against a server that does what each
test says."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import hall
import pytest

import arena
import tagwire
from conftest import Link, Peer, soon
from tagwire.gen.v1 import Disconnect, Request, Response, Status
from test_pump import Stage, stage, until, waiting  # noqa: F401  `stage` is a fixture

NAME = "hall.v1.RenameRequest"


async def asked(peer: Peer, **options: Any) -> tuple[asyncio.Future[Any], tagwire.Client, Link]:
    """A call of `Lobby.rename` that the server has got and not answered."""
    client, link = await peer.connected(schema=hall.SCHEMA)
    task = asyncio.ensure_future(hall.Lobby(client).rename(hall.RenameRequest(name="zoe"), **options))
    request = await link.take(Request)
    assert (request.key, request.tag) == (1, 300)
    assert hall.RenameRequest.FromString(request.body).name == "zoe"
    return task, client, link


async def failure(peer: Peer, **response: Any) -> tagwire.RequestFailed:
    """What the call raises when it is answered so."""
    task, _, link = await asked(peer)
    link.send(Response(key=1, tag=300, **response))
    with pytest.raises(tagwire.RequestFailed) as caught:
        await soon(task)
    assert caught.value.status == response["status"]
    return caught.value


async def test_a_method_gives_the_reply(peer: Peer):
    task, _, link = await asked(peer)
    link.send(Response(key=1, tag=300, body=hall.RenameReply(name="Zoe").SerializeToString()))
    reply = await soon(task)
    assert type(reply) is hall.RenameReply
    assert reply.name == "Zoe"


METHODS = pytest.mark.parametrize(
    ("service", "method", "request_", "reply"),
    [
        (hall.Lobby, "import_", hall.ImportRequest(), hall.google.protobuf.Empty()),
        (hall.Lobby, "get_url", hall.UrlRequest(of="x"), hall.Url(name=hall.Name(name="y"))),
        (hall.Lobby, "sync", hall.Sync(n=1), hall.Sync(n=2)),
        (hall.Lobby, "ask", hall.ask(), hall.Client()),
        (hall.Lobby, "client", hall.Wave(), hall.Wave.Back(n=3)),
        (hall.Lobby, "rpc_2", hall.Two(), hall.RenameReply(name="y")),
        (hall.v1.None_, "play", hall.PlayRequest(card=7), hall.PlayReply(left=1)),
        (hall.common.None_, "find", hall.FindRequest(), hall.Url()),
    ],
)


@METHODS
async def test_every_method_asks_with_its_own_tag(peer: Peer, service, method, request_, reply):
    client, link = await peer.connected(schema=hall.SCHEMA)
    task = asyncio.ensure_future(getattr(service(client), method)(request_))
    request = await link.take(Request)
    assert request.tag == hall.SCHEMA.rules_of(request_).tag
    assert request.body == request_.SerializeToString()
    link.send(Response(key=request.key, tag=request.tag, body=reply.SerializeToString()))
    got = await soon(task)
    assert type(got) is type(reply)
    assert got == reply


async def test_one_service_asks_several_things_at_once(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    lobby = hall.Lobby(client)
    tasks = [asyncio.ensure_future(lobby.rename(hall.RenameRequest(name=name))) for name in "ab"]
    first, second = [await link.take(Request) for _ in range(2)]
    for request in (second, first):
        name = hall.RenameRequest.FromString(request.body).name.upper()
        body = hall.RenameReply(name=name).SerializeToString()
        link.send(Response(key=request.key, tag=300, body=body))
    assert [(await soon(task)).name for task in tasks] == ["A", "B"]


# What can go wrong


async def test_invalid_names_field_and_rule(peer: Peer):
    error = await failure(peer, status=Status.INVALID, message="name: longer than 32")
    assert str(error) == (
        f"{NAME} was answered with INVALID: name: longer than 32; the request breaks a rule of the schema; "
        "correct it before asking again"
    )
    assert (error.message, error.may_have_run) == ("name: longer than 32", False)


async def test_illegal_has_the_games_own_code(peer: Peer):
    error = await failure(peer, status=Status.ILLEGAL, message="name taken", code=17)
    assert str(error) == f"{NAME} was answered with ILLEGAL, code 17: name taken"
    assert (error.code, error.message, error.reason) == (17, "name taken", "name taken")


async def test_denied_says_how_to_be_let(peer: Peer):
    error = await failure(peer, status=Status.DENIED)
    assert str(error) == (
        f"{NAME} was answered with DENIED; log in as a player with the access that its rules in the schema "
        "ask for"
    )


async def test_unknown_says_where_to_look(peer: Peer):
    error = await failure(peer, status=Status.UNKNOWN)
    assert str(error) == (
        f"{NAME} was answered with UNKNOWN; the server, or the player's room, has no service that takes it"
    )


async def test_unavailable_says_when_to_ask_again(peer: Peer):
    error = await failure(peer, status=Status.UNAVAILABLE, message="busy", retry_after_ms=250)
    assert str(error) == f"{NAME} was answered with UNAVAILABLE: busy; ask again in 0.25 s"
    assert (error.retry_after, error.may_have_run) == (0.25, False)


async def test_unavailable_warns_of_asking_twice(peer: Peer):
    error = await failure(peer, status=Status.UNAVAILABLE, may_have_run=True)
    assert str(error) == (
        f"{NAME} was answered with UNAVAILABLE; ask again later, but only if twice does no harm: "
        "it may have run"
    )
    assert (error.retry_after, error.may_have_run) == (0, True)


async def test_internal_is_the_servers_fault(peer: Peer):
    error = await failure(peer, status=Status.INTERNAL)
    assert str(error) == (
        f"{NAME} was answered with INTERNAL; this is a fault of the server, whose log says more; it may "
        "have run in part"
    )
    assert error.may_have_run


async def test_a_status_of_a_newer_server_passes_through(peer: Peer):
    error = await failure(peer, status=99)
    assert str(error) == f"{NAME} was answered with 99"
    assert error.status.name == "99"


async def test_the_servers_time_out_is_told_from_our_own(peer: Peer):
    error = await failure(peer, status=Status.TIMEOUT)
    assert isinstance(error, tagwire.RequestTimeout)
    assert (error.by_peer, error.may_have_run) == (True, True)
    assert str(error) == (
        f"{NAME} was answered with TIMEOUT; the server has stopped it, maybe halfway; a longer `timeout` "
        "does not help"
    )


async def test_our_own_time_out_and_the_late_answer(peer: Peer):
    task, client, link = await asked(peer, timeout=0.05)
    with pytest.raises(tagwire.RequestTimeout) as caught:
        await soon(task)
    error = caught.value
    assert (error.by_peer, error.may_have_run, error.status) == (False, True, tagwire.Status.TIMEOUT)
    assert str(error) == f"{NAME} was not answered within 0.05 s; it may have run, or still run, all the same"
    assert client.dropped.misplaced == 0
    link.send(Response(key=1, tag=300, body=hall.RenameReply(name="late").SerializeToString()))
    again = asyncio.ensure_future(hall.Lobby(client).rename(hall.RenameRequest(name="b")))
    assert (await link.take(Request)).key == 2
    link.send(Response(key=2, tag=300, body=hall.RenameReply(name="B").SerializeToString()))
    assert (await soon(again)).name == "B"
    assert client.dropped.misplaced == 1


async def test_a_second_answer_to_one_request_is_counted(peer: Peer):
    task, client, link = await asked(peer)
    one = Response(key=1, tag=300, body=hall.RenameReply(name="one").SerializeToString())
    link.send(one, Response(key=1, tag=300, status=Status.INTERNAL))
    assert (await soon(task)).name == "one"
    for _ in range(100):
        if client.dropped.misplaced:
            break
        await asyncio.sleep(0.01)
    assert client.dropped.misplaced == 1


async def test_a_reply_that_cannot_be_read_says_what_to_do(peer: Peer):
    task, client, link = await asked(peer)
    link.send(Response(key=1, tag=300, body=b"\xff"))
    with pytest.raises(
        tagwire.TagwireError, match=r"read as hall\.v1\.RenameReply; generate the stubs again"
    ):
        await soon(task)
    assert client.dropped.undecodable == 1


async def test_the_end_fails_a_call_that_waits(peer: Peer):
    task, _, link = await asked(peer)
    link.send(Disconnect(code=3000))
    with pytest.raises(tagwire.ConnectionClosed):
        await soon(task)


async def test_what_is_no_request_of_the_method_is_not_sent(peer: Peer):
    client, link = await peer.connected(schema=hall.SCHEMA)
    lobby = hall.Lobby(client)
    for wrong, what in [
        (hall.ImportRequest(), r"hall\.v1\.ImportRequest"),
        ("zoe", "str"),
        (None, "NoneType"),
    ]:
        match = rf"^this method of Lobby takes hall\.v1\.RenameRequest, not {what}$"
        with pytest.raises(TypeError, match=match):
            await lobby.rename(wrong)  # type: ignore[arg-type]
    own = tagwire.Schema(
        name="hall", fingerprint=b"", descriptors=hall.SCHEMA.descriptors, rules=hall.SCHEMA.rules
    )
    with pytest.raises(TypeError, match=r"not a hall\.v1\.RenameRequest of other stubs$"):
        await lobby.rename(own.message(NAME)())
    await client.close()
    assert (await link.frame()).tag == 241  # the Disconnect, and nothing before it


async def test_a_client_with_another_schema_cannot_ask(peer: Peer):
    client, _ = await peer.connected(schema=arena.SCHEMA)
    with pytest.raises(TypeError, match=r"RenameRequest is not in the schema 'arena' of this client"):
        await hall.Lobby(client).rename(hall.RenameRequest())


async def test_a_request_sent_alone_is_told_where_to_go(peer: Peer):
    client, _ = await peer.connected(schema=hall.SCHEMA)
    with pytest.raises(TypeError, match=r"use client\.request\(\) or the service's class$"):
        await client.send(hall.RenameRequest())


# For a game loop


def test_a_sync_service_calls_back_in_sync(stage: Stage):  # noqa: F811
    client, link = stage.connected(schema=hall.SCHEMA)
    lobby = hall.Lobby.Sync(client)
    seen: list[Any] = []
    lobby.rename(hall.RenameRequest(name="a"), seen.append)
    lobby.get_url(hall.UrlRequest(of="b"), seen.append, on_error=seen.append)
    first, second = (stage.do(link.take(Request)) for _ in range(2))
    assert (first.tag, second.tag) == (300, 307)
    stage.send(
        link,
        Response(key=second.key, tag=307, status=Status.ILLEGAL, code=5),
        Response(key=first.key, tag=300, body=hall.RenameReply(name="A").SerializeToString()),
    )
    waiting(client, 2)
    assert seen == []
    assert client.sync(1) == 2
    assert str(seen[0]) == "hall.common.UrlRequest was answered with ILLEGAL, code 5"
    assert seen[1] == hall.RenameReply(name="A")


@METHODS
def test_every_method_of_a_sync_service_asks_with_its_own_tag(
    stage: Stage,  # noqa: F811
    service,
    method,
    request_,
    reply,
):
    client, link = stage.connected(schema=hall.SCHEMA)
    seen: list[Any] = []
    getattr(service.Sync(client), method)(request_, seen.append)
    request = stage.do(link.take(Request))
    assert request.tag == hall.SCHEMA.rules_of(request_).tag
    assert request.body == request_.SerializeToString()
    stage.send(link, Response(key=1, tag=request.tag, body=reply.SerializeToString()))
    waiting(client, 1)
    assert client.sync() == 1
    assert [(type(one), one) for one in seen] == [(type(reply), reply)]


def test_a_sync_service_without_on_error_fails_in_sync(stage: Stage):  # noqa: F811
    client, link = stage.connected(schema=hall.SCHEMA)
    seen: list[Any] = []
    hall.Lobby.Sync(client).rename(hall.RenameRequest(), seen.append)
    stage.do(link.take(Request))
    stage.send(link, Response(key=1, tag=300, status=Status.TIMEOUT))
    waiting(client, 1)
    with pytest.raises(tagwire.RequestTimeout) as caught:
        client.sync()
    assert caught.value.by_peer
    assert seen == []


def test_a_sync_service_times_out_and_counts_the_late_answer(stage: Stage):  # noqa: F811
    client, link = stage.connected(schema=hall.SCHEMA)
    seen: list[Any] = []
    hall.Lobby.Sync(client).rename(hall.RenameRequest(), seen.append, on_error=seen.append, timeout=0.05)
    stage.do(link.take(Request))
    waiting(client, 1)
    assert client.sync() == 1
    assert isinstance(seen[0], tagwire.RequestTimeout)
    assert str(seen[0]).startswith(f"{NAME} was not answered within 0.05 s; ")
    assert not seen[0].by_peer
    stage.send(link, Response(key=1, tag=300))

    def late() -> int:
        assert client.sync() == 0
        return client.dropped.misplaced

    until(late)
    assert client.dropped.misplaced == 1
    assert len(seen) == 1


def test_a_sync_service_refuses_what_its_method_does_not_take(stage: Stage):  # noqa: F811
    client, _ = stage.connected(schema=hall.SCHEMA)
    lobby = hall.Lobby.Sync(client)
    with pytest.raises(
        TypeError, match=r"^this method of Lobby\.Sync takes hall\.v1\.RenameRequest, not int$"
    ):
        lobby.rename(1, print)  # type: ignore[arg-type]


# The classes


async def test_each_class_says_which_client_it_is_for(peer: Peer, stage: Stage):  # noqa: F811
    client, _ = await peer.connected(schema=hall.SCHEMA)
    with pytest.raises(TypeError, match=r"^Lobby\.Sync is for .* connect_sync\(\); use Lobby\(client\) with"):
        hall.Lobby.Sync(client)  # type: ignore[arg-type]
    sync_client, _ = await asyncio.to_thread(stage.connected)
    with pytest.raises(TypeError, match=r"^Lobby is for .* connect\(\); use Lobby\.Sync\(client\) with"):
        hall.Lobby(sync_client)  # type: ignore[arg-type]
    assert repr(hall.Lobby(client)) == f"<Lobby of {client!r}>"
    assert repr(hall.Lobby.Sync(sync_client)) == f"<Lobby.Sync of {sync_client!r}>"


def services() -> Iterator[type]:
    for module in (hall.v1, hall.common):
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, tagwire.Service):
                yield value


def test_both_classes_of_a_service_have_the_same_methods():
    found = list(services())
    assert len(found) == 4
    for service in found:
        inner = service.Sync  # type: ignore[attr-defined]
        assert issubclass(inner, tagwire.SyncService)
        names = [name for name in vars(service) if not name.startswith("_") and name != "Sync"]
        assert names == [name for name in vars(inner) if not name.startswith("_")]
        for name in names:
            one, other = getattr(service, name), getattr(inner, name)
            # In a batch, the call makes the request: so it is no coroutine function.
            assert not inspect.iscoroutinefunction(one)
            assert not inspect.iscoroutinefunction(other)
            assert one.__doc__ == other.__doc__


def test_comments_are_docstrings():
    assert inspect.getdoc(hall.Lobby) == "Where players\nmeet."
    assert hall.Lobby.rename.__doc__ == "Gives the player another name."
    assert hall.Lobby.get_url.__doc__ == 'From another package, with """quotes""" and a \\backslash.'
    assert hall.Lobby.import_.__doc__ is None


def test_the_root_repeats_what_one_package_has():
    assert hall.Lobby is hall.v1.Lobby
    assert "Lobby" in hall.__all__
    assert hall.v1.None_ is not hall.common.None_
    assert not hasattr(hall, "None_")
