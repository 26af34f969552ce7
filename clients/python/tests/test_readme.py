"""Each program in the README runs, against the real server, and prints what it says. Those with services,
of which the real server has none, run against one that answers as the text has it; so do those with TLS and
tokens, for whose certificates and refusals that server is made."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import hall
import pytest

import tagwire
from conftest import Link, Peer, Server, soon, welcome
from doors import Authority, TlsPeer, WsPeer, running
from tagwire.gen.v1 import Batch, Disconnect, LoginPart, PlayerLogin, Request, Response, Status
from tagwire.session import BATCH, DISCONNECT, REQUEST

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
ALL_PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
ASKING = [program for program in ALL_PROGRAMS if "import hall" in program]
SECURE = [program for program in ALL_PROGRAMS if "s://" in program]
PROGRAMS = [program for program in ALL_PROGRAMS if program not in ASKING + SECURE]
EXPECTED = [
    r"player1: hello\n",
    r"player9: hello\n",
    r"lobby \[\]\n"
    r"round trip \d+\.\d ms, the server's clock says \d{10}\n"
    r"closed by this client: NORMAL \(0\)\n",
    r"dropped: arena\.v1\.Chat RATE_LIMITED\n",
    r"login refused: .* the dev password is 'welcome' .*\nLOGIN_REFUSED False\n",
    r"attempt 1 in 0\.[0-2] s\nthe session goes on\nhello\n",
    r"lobby\n",
    r"SAME\n",
    r"player5: hello, lobby\n",
    r"",
]


ASKING_EXPECTED = [
    "Zoe\nhall.v1.RenameRequest was answered with ILLEGAL, code 17: no such name here\n17\n",
    "Zoe\nILLEGAL 17\n",
    "Zoe\n17\n",
]


SECURE_EXPECTED = [
    "player14\n",
    "player15\n",
    "log in at the web site again: the token has expired\n",
]


def test_every_program_is_here():
    assert len(SECURE) == len(SECURE_EXPECTED)
    assert len(PROGRAMS) == len(EXPECTED)
    assert len(ASKING) == len(ASKING_EXPECTED)


async def requests_of(link: Link) -> AsyncIterator[Request]:
    """What a client asks, alone or in batches, until it leaves."""
    while (frame := await link.frame()).tag != DISCONNECT:
        if frame.tag == BATCH:
            for request in Batch.FromString(frame.payload).requests:
                yield request
        else:
            assert frame.tag == REQUEST
            yield Request.FromString(frame.payload)


def test_the_warning_is_quoted_right():
    notice = tagwire.Noticed(tagwire.NoticeReason.RATE_LIMITED, 4, "arena.v1.Chat", "max_rate is 5/s")
    assert f"tagwire:0: NoticeWarning: {tagwire.NoticeWarning(notice)}\n" in README


@pytest.mark.parametrize("number", range(len(ASKING_EXPECTED)))
async def test_a_program_with_a_service_runs(peer: Peer, number):
    program = ASKING[number].replace("localhost:7777", peer.address)
    assert program != ASKING[number]
    code = f"import sys; sys.path[:0] = {sys.path!r}\n{program}"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error", "-c", code), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    link = await peer.accept()
    assert (await link.take(PlayerLogin)).client.fingerprint == hall.SCHEMA.fingerprint
    link.send(welcome(fingerprint=hall.SCHEMA.fingerprint))
    async for request in requests_of(link):
        if hall.RenameRequest.FromString(request.body).name == "zoe":
            body = hall.RenameReply(name="Zoe").SerializeToString()
            link.send(Response(key=request.key, tag=request.tag, body=body))
        else:
            no = Response(key=request.key, tag=request.tag, status=Status.ILLEGAL, code=17)
            no.message = "no such name here"
            link.send(no)
    link.close()
    out, errors = await soon(process.communicate(), 30)
    assert (process.returncode, errors) == (0, b"")
    assert out.decode() == ASKING_EXPECTED[number]


@pytest.mark.parametrize("number", range(len(SECURE_EXPECTED)))
async def test_a_program_with_tls_runs(authority: Authority, tmp_path: Path, number):
    program = SECURE[number]
    issued = authority.issue()
    (tmp_path / "ca.pem").write_bytes(authority.pem.read_bytes())
    (tmp_path / "token.txt").write_text("eyJhbGciOi\n")
    kind = WsPeer if "wss://" in program else TlsPeer
    async with running(kind(issued.context(), None)) as peer:
        program = program.replace("localhost:7777", f"localhost:{peer.port}")
        program = re.sub(r"sha256:[0-9a-f]{64}", issued.pin, program)
        assert program != SECURE[number]
        code = f"import sys; sys.path[:0] = {sys.path!r}\n{program}"
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-W", "error", "-c", code),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=tmp_path,
            env={**os.environ, "SSL_CERT_FILE": str(authority.pem)},
        )
        link = await peer.accept()
        login = await link.take(PlayerLogin)
        if login.token:
            assert (login.token, login.password) == ("eyJhbGciOi", "")
            link.send(Disconnect(code=3501, reason="the token has expired", refused=LoginPart.TOKEN))
        else:
            link.send(welcome(name=login.username))
            await link.take(Disconnect)
        link.close()
        out, errors = await soon(process.communicate(), 30)
    assert (process.returncode, errors) == (0, b"")
    assert out.decode() == SECURE_EXPECTED[number]


@pytest.mark.parametrize("number", range(len(EXPECTED)))
def test_a_program_of_the_readme_runs(server: Server, number):
    program = PROGRAMS[number].replace("localhost:7777", server.address)
    # Where the text has it, the network does fail.
    program = program.replace("# here the network fails", "client._connection.abort()")
    assert program != PROGRAMS[number]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(EXPECTED[number], done.stdout), done.stdout


def test_the_program_of_the_project_readme_sees_a_player_move(server: Server):
    root = Path(__file__).parents[3]
    (program,) = re.findall(r"```python\n(.*?)```", (root / "README.md").read_text("utf-8"), re.DOTALL)
    program = program.replace('"localhost"', f'"{server.address}"')
    assert server.address in program
    command = [sys.executable, "-u", "-c", f"import sys; sys.path[:0] = {sys.path!r}\n{program}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watcher:
        try:
            mover = root / "examples" / "demo" / "mover.py"
            moving = [sys.executable, str(mover), "--connect", server.address, "--seconds", "2"]
            assert subprocess.run(moving, capture_output=True, timeout=30).returncode == 0
            assert watcher.stdout is not None
            assert re.fullmatch(r"mover \d+ \d+\n", watcher.stdout.readline())
        finally:
            watcher.kill()
