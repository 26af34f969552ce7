"""Drives the Python client as conformance/README.md says: commands on stdin, reports on stdout."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "gen" / "python"))

import tagwire
from google.protobuf import json_format
from google.protobuf.message import Message

import conformance

EVENTS = (
    tagwire.MemberChanged,
    tagwire.RoomEnded,
    tagwire.Noticed,
    tagwire.Reconnecting,
    tagwire.Reconnected,
)


def report(kind: str, **fields: object) -> None:
    sys.stdout.write(json.dumps({"report": kind, **fields}) + "\n")
    sys.stdout.flush()


def kind_of(name: str) -> Any:
    return conformance.SCHEMA.message(name)


def message_of(command: dict[str, Any]) -> Message:
    message: Message = json_format.ParseDict(command["message"], kind_of(command["type"])())
    return message


def json_of(message: Message) -> Any:
    return json_format.MessageToDict(message)


def ms(seconds: float) -> int:
    return round(seconds * 1000)


def report_event(event: Any) -> None:
    if isinstance(event, tagwire.MemberChanged):
        member = event.member
        report("member", change=event.change.name, player=member.id, name=member.name, away=member.away)
    elif isinstance(event, tagwire.RoomEnded):
        report("room_ended", room=event.room, reason=event.reason)
    elif isinstance(event, tagwire.Noticed):
        report("notice", reason=int(event.reason), tag=event.tag, text=event.text)
    elif isinstance(event, tagwire.Reconnecting):
        report("reconnecting", attempt=event.attempt, delay_ms=ms(event.delay), reason=event.reason)
    elif isinstance(event, tagwire.Reconnected):
        report("reconnected", resumed=event.resumed, attempts=event.attempts, lost=event.lost)


def report_closed(client: tagwire.Client) -> None:
    closed = client.closed
    assert closed is not None
    report(
        "closed",
        code=int(closed.code),
        reason=closed.reason,
        by_peer=closed.by_peer,
        retry_after_ms=ms(closed.retry_after),
    )


class Driver:
    def __init__(self) -> None:
        self.client: tagwire.Client | None = None
        self.tasks: set[asyncio.Task[None]] = set()

    async def do(self, command: dict[str, Any]) -> None:
        what = command["do"]
        if what == "connect":
            await self.connect(command)
            return
        client = self.client
        if client is None:
            raise RuntimeError(f"{what} without a client")
        if what == "send":
            await client.send(message_of(command))
        elif what == "request":
            reply = kind_of(command["reply"])
            timeout = command.get("timeout_ms", 2000) / 1000
            self.start(
                self.answer(command["id"], client.request(message_of(command), reply, timeout=timeout))
            )
        elif what == "batch":
            await self.batch(client, command)
        elif what == "join":
            self.start(self.answer(command["id"], client.join(command["room"])))
        elif what == "state":
            self.state(client)
        elif what == "close":
            self.start(client.close(command.get("code", 0), command.get("reason", "")))
        else:
            raise RuntimeError(f"no such command: {what}")
        # A request or a close is on its way before the next command is looked at.
        await asyncio.sleep(0)

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.done)

    def done(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            report("error", about="task", text=repr(error))

    async def connect(self, command: dict[str, Any]) -> None:
        reconnect = command.get("reconnect", True)
        if isinstance(reconnect, dict):
            names = {
                "first_delay_ms": "first_delay",
                "max_delay_ms": "max_delay",
                "give_up_after_ms": "give_up_after",
            }
            reconnect = tagwire.Reconnect(**{names[name]: value / 1000 for name, value in reconnect.items()})
        try:
            client = await tagwire.connect(
                command["address"],
                schema=conformance.SCHEMA,
                username=command.get("username", ""),
                password=command.get("password", ""),
                token=command.get("token", ""),
                timeout=command.get("timeout_ms", 5000) / 1000,
                reconnect=reconnect,
            )
        except tagwire.LoginRefused as error:
            report(
                "refused",
                code=int(error.code),
                reason=error.closed.reason,
                part=error.part,
                findings=error.findings,
                retry_after_ms=ms(error.retry_after),
            )
            return
        except tagwire.ConnectError as error:
            report("failed", reason=error.reason)
            return
        self.client = client
        report(
            "connected",
            player=client.player_id,
            session=client.session_id,
            name=client.name,
            room=client.room,
            verdict=client.verdict.name,
        )
        for event in EVENTS:
            client.on(event, report_event)
        self.start(self.receive(client))

    async def receive(self, client: tagwire.Client) -> None:
        try:
            async for message, sender in client.with_senders():
                report(
                    "message",
                    type=message.DESCRIPTOR.full_name,
                    message=json_of(message),
                    player=sender.id if sender else 0,
                    name=sender.name if sender else "",
                )
        except tagwire.ConnectionClosed:
            pass
        report_closed(client)

    async def answer(self, number: int, asked: Any) -> None:
        try:
            reply = await asked
            # `join` gives the room's name alone.
            report(
                "response", id=number, message={"room": reply} if isinstance(reply, str) else json_of(reply)
            )
        except tagwire.RequestFailed as error:
            report(
                "response",
                id=number,
                status=error.status.name,
                code=error.code,
                text=error.message,
                retry_after_ms=ms(error.retry_after),
                may_have_run=error.may_have_run,
                by_peer=getattr(error, "by_peer", True),
            )
        except tagwire.ConnectionClosed as error:
            report("response", id=number, closed=int(error.code), may_have_run=error.may_have_run)
        except (tagwire.TagwireError, TypeError, ValueError) as error:
            report("response", id=number, error=str(error))

    async def batch(self, client: tagwire.Client, command: dict[str, Any]) -> None:
        answers = []
        async with client.batch(stop_on_error=command.get("stop_on_error", False)) as batch:
            for one in command["requests"]:
                timeout = one.get("timeout_ms", 2000) / 1000
                answers.append(batch.request(message_of(one), kind_of(one["reply"]), timeout=timeout))
        for one, answer in zip(command["requests"], answers, strict=True):
            self.start(self.answer(one["id"], answer))

    def state(self, client: tagwire.Client) -> None:
        by_player = sorted(client.members.values(), key=lambda member: member.id)
        members = [{"player": m.id, "name": m.name, "away": m.away} for m in by_player]
        dropped = client.dropped
        report(
            "state",
            player=client.player_id,
            room=client.room,
            members=members,
            rtt_us=round((client.rtt or 0) * 1e6),
            jitter_us=round((client.jitter or 0) * 1e6),
            server_time_ms=ms(client.server_time()),
            dropped={
                "unknown": dropped.unknown,
                "undecodable": dropped.undecodable,
                "misplaced": dropped.misplaced,
            },
        )


async def main() -> None:
    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[str] = asyncio.Queue()

    def read() -> None:
        for line in sys.stdin:
            loop.call_soon_threadsafe(lines.put_nowait, line)
        os._exit(0)  # the runner is done; whatever goes on here ends

    threading.Thread(target=read, daemon=True).start()
    report("ready", client=f"tagwire-python {tagwire.__version__}", language="Python")
    driver = Driver()
    while True:
        command = json.loads(await lines.get())
        try:
            await driver.do(command)
        except (tagwire.TagwireError, TypeError, ValueError) as error:
            report("error", about=command["do"], text=str(error))


asyncio.run(main())
