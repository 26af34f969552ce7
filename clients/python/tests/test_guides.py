"""The guides in docs/guides: each Python program runs, and what is printed is quoted right."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import coins
import pytest

import tagwire
from conftest import ROOT, Peer, Server, running, soon, welcome
from tagwire.gen.v1 import JoinRoom, JoinRoomReply, PlayerLogin, Request, Response
from tagwire.gen.v1 import RoomEnded as RoomEndedMessage

GUIDES = ROOT / "docs" / "guides"


def text_of(guide: str) -> str:
    return (GUIDES / f"{guide}.md").read_text(encoding="utf-8")


def programs_of(guide: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", text_of(guide), re.DOTALL)


def texts_of(guide: str) -> list[str]:
    return re.findall(r"```text\n(.*?)```", text_of(guide), re.DOTALL)


def command(program: str, address: str) -> list[str]:
    """Runs it with this server."""
    here = program.replace("localhost:7777", address)
    assert here != program
    return [sys.executable, "-W", "error", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{here}"]


RELAYED, ENDED = range(2)
ASKED = [
    "ILLEGAL you stand still\nTrue\nUNAVAILABLE True\n",
    "0\ncoins.v1.DashRequest was answered with ILLEGAL: you stand still\n",
    "answered\nILLEGAL\nUNAVAILABLE\n",
]


def test_every_program_is_here():
    assert len(programs_of("rooms")) == 2
    assert len(programs_of("requests")) == len(ASKED)
    assert programs_of("schema") == programs_of("hooks") == []


def run(program: str, server: Server) -> str:
    done = subprocess.run(command(program, server.address), capture_output=True, text=True, timeout=40)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_room_without_code_relays(server: Server):
    assert run(programs_of("rooms")[RELAYED], server) == "anna in red: hello\n"


@pytest.mark.parametrize("number", range(len(ASKED)))
def test_a_program_that_asks_runs(arena_server: Server, number):
    assert run(programs_of("requests")[number], arena_server) == ASKED[number]


def test_the_answer_is_quoted_right():
    (shown,) = texts_of("requests")
    assert ASKED[1] == f"0\n{shown}"


async def test_the_end_of_a_room_is_told_and_survived(peer: Peer):
    process = await asyncio.create_subprocess_exec(
        *command(programs_of("rooms")[ENDED], peer.address), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    link = await peer.accept()
    await link.take(PlayerLogin)
    link.send(
        welcome(fingerprint=coins.SCHEMA.fingerprint), RoomEndedMessage(room="main", reason="zoe has won")
    )
    request = await link.take(Request)
    assert JoinRoom.FromString(request.body).room == "main"
    reply = JoinRoomReply(room="main").SerializeToString()
    link.send(Response(key=request.key, tag=request.tag, body=reply))
    out, errors = await soon(process.communicate(), 40)
    link.close()
    assert (process.returncode, errors) == (0, b"")
    assert out.decode() == "main has ended: zoe has won\nin a new main\n"


async def test_what_an_old_client_is_told_is_quoted_right(tmp_path: Path):
    name = "coins/v1/coins.proto"
    old = (ROOT / "examples/arena/proto" / name).read_text(encoding="utf-8")
    new = old.replace("sint32 east = 1;", "int32 east = 1;").replace(
        "uint32 coins = 3;\n", "uint32 coins = 3;\n  uint32 steps = 4;\n"
    )
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(new, encoding="utf-8")
    newer = running(Server("--schema", str(tmp_path)))
    with newer as server, pytest.raises(tagwire.SchemaMismatch) as caught:
        await server.connect(schema=coins.SCHEMA)
    assert f"{caught.value}\n" in texts_of("schema")


def test_the_rules_are_those_of_the_schema():
    """The table has a row for each rule, and no other."""
    options = (ROOT / "proto/tagwire/v1/options.proto").read_text(encoding="utf-8")
    (rules,) = re.findall(r"^message Rules \{\n(.*?)^\}", options, re.MULTILINE | re.DOTALL)
    table = text_of("schema").partition("| rule |")[2].partition("\n\n")[0]
    assert re.findall(r"^\| `(\w+)`", table, re.MULTILINE) == re.findall(r"(\w+) = \d+;", rules)


@pytest.mark.parametrize("guide", ["schema", "rooms", "requests", "hooks"])
def test_links_lead_somewhere(guide):
    for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text_of(guide)):
        if not link.startswith("https://"):
            assert (GUIDES / link).exists(), link
