"""What the guides on TLS and deploying say: the unit, the container file, configurations of balancers."""

import ast
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from test_new_message import seed, target

# The unit as it is installed.
PROGRAM = "/usr/local/bin/tagwire-server"

CHAT = """
import asyncio, sys
import arena, tagwire

async def main() -> None:
    async with tagwire.connect(sys.argv[1], username="one", password="welcome", schema=arena.SCHEMA) as one:
        await one.send(arena.Chat(text="hello"))
        assert (await anext(aiter(one))).text == "hello"

asyncio.run(asyncio.wait_for(main(), 30))
"""


def run(*command: str | pathlib.Path, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, **more)


def works(*command: str | pathlib.Path, **more: object) -> str:
    """What it printed."""
    done = run(*command, **more)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def blocks(root: pathlib.Path, guide: str, language: str) -> list[str]:
    """The quoted pieces of a guide."""
    text = (root / f"docs/guides/{guide}.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def replaced(text: str, **changes: tuple[str, str]) -> str:
    """Each change must have something to change."""
    for old, new in changes.values():
        assert old in text, f"{old!r} is not in:\n{text}"
        text = text.replace(old, new)
    return text


@pytest.fixture
def program(root: pathlib.Path) -> pathlib.Path:
    return pathlib.Path(os.environ.get("TAGWIRE_SERVER") or target(root) / "debug/tagwire-server").resolve()


@pytest.fixture
def pem(tmp_path: pathlib.Path) -> pathlib.Path:
    """A certificate and its key, in one file."""
    key, certificate = tmp_path / "game.key", tmp_path / "game.crt"
    works(
        *["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
        *["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
        *["-keyout", key, "-out", certificate],
    )
    pem = tmp_path / "game.pem"
    pem.write_text(certificate.read_text() + key.read_text())
    return pem


@contextmanager
def running(
    command: list[str | pathlib.Path], log: pathlib.Path, signs: str
) -> Iterator[tuple[subprocess.Popen[bytes], re.Match[str]]]:
    """A program whose log has `signs` when it is up. Ends it."""
    with log.open("w") as out:
        env = {key: value for key, value in os.environ.items() if not key.startswith("TAGWIRE_")}
        process = subprocess.Popen(command, stdout=out, stderr=out, cwd=log.parent, env=env)
    try:
        yield process, wait_for(log, signs, process)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        finally:
            process.kill()


def wait_for(log: pathlib.Path, signs: str, process: subprocess.Popen[bytes] | None = None) -> re.Match[str]:
    deadline = time.monotonic() + 30
    while not (found := re.search(signs, log.read_text())):
        assert process is None or process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, f"{signs} is not in:\n{log.read_text()}"
        time.sleep(0.02)
    return found


# The systemd unit


@pytest.fixture
def unit(root: pathlib.Path, program: pathlib.Path, tmp_path: pathlib.Path) -> pathlib.Path:
    """The unit, with the program where it is here."""
    text = (root / "deploy/tagwire-server.service").read_text()
    unit = tmp_path / "tagwire-server.service"
    unit.write_text(replaced(text, program=(f"={PROGRAM} ", f"={program} ")))
    return unit


def test_systemd_has_nothing_to_say_of_the_unit(unit: pathlib.Path) -> None:
    done = run("systemd-analyze", "verify", "--man=no", unit)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_unit_exposes_little(unit: pathlib.Path) -> None:
    # In tenths.
    works("systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=12", unit)


def settings(unit: pathlib.Path, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", unit.read_text(), re.MULTILINE)


def allowed_calls(unit: pathlib.Path) -> set[str]:
    """The system calls that its filters leave, by the sets that this systemd knows."""
    sets: dict[str, list[str]] = {}
    for line in works("systemd-analyze", "--no-pager", "syscall-filter").splitlines():
        if line.startswith("@"):
            members = sets[line] = []
        elif (name := line.strip()) and not name.startswith("#"):
            members.append(name)

    def expand(name: str) -> set[str]:
        return set().union(*map(expand, sets[name])) if name.startswith("@") else {name}

    (plus, minus) = settings(unit, "SystemCallFilter")
    assert minus.startswith("~")
    return set().union(*map(expand, plus.split())) - set().union(*map(expand, minus[1:].split()))


def test_the_unit_allows_what_a_server_does(
    root: pathlib.Path, unit: pathlib.Path, program: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    trace, log = tmp_path / "trace", tmp_path / "server.log"
    (tmp_path / "tagwire.toml").write_text('listen = ["127.0.0.1:0", "[::1]:0"]\n')
    # Detached: the process is the server.
    command = ["strace", "-D", "-f", "-o", trace, program, "--config", "tagwire.toml"]
    with running(command, log, r"server up on (127\S+)") as (server, up):
        path = f"{root}/clients/python:{root}/clients/python/gen"
        works(sys.executable, "-c", CHAT, up[1], env=os.environ | {"PYTHONPATH": path})
        (tmp_path / "tagwire.toml").write_text('listen = ["127.0.0.1:0", "[::1]:0"]\nlog = "debug"\n')
        server.send_signal(signal.SIGHUP)
        wait_for(log, "settings read again")
        server.terminate()
        assert server.wait(timeout=20) == 0, log.read_text()
    wait_for(trace, rf"(?m)^{server.pid} +\+\+\+ exited with 0")
    text = trace.read_text()
    called = set(re.findall(r"^\d+ +(?:<\.\.\. )?(\w+)(?:\(| resumed>)", text, re.MULTILINE))
    assert {"execve", "accept4", "epoll_wait", "shutdown"} <= called
    assert called <= allowed_calls(unit)
    (families,) = settings(unit, "RestrictAddressFamilies")
    # It says nothing of pairs, by which a program speaks to itself.
    opened = set(re.findall(r"\bsocket\((AF_\w+)", text))
    assert opened == {"AF_INET", "AF_INET6"}
    assert opened <= set(families.split())


def test_the_unit_leaves_a_stop_its_time(root: pathlib.Path, unit: pathlib.Path) -> None:
    assert settings(unit, "KillSignal") == ["SIGTERM"]
    assert settings(unit, "ExecReload") == ["kill -HUP $MAINPID"]
    (seconds,) = settings(unit, "TimeoutStopSec")
    assert int(seconds.removesuffix("s")) > 10
    most = re.search(r"^max_connections = (\d+)", (root / "server/tagwire.toml").read_text(), re.MULTILINE)
    (descriptors,) = settings(unit, "LimitNOFILE")
    assert most is not None
    assert int(descriptors) > int(most[1])


# The container file


@pytest.fixture
def seeded(root: pathlib.Path) -> Iterator[pathlib.Path]:
    """A target folder that holds what cargo has built of other people's crates."""
    folder = target(root) / "container-steps"
    shutil.rmtree(folder, ignore_errors=True)
    seed(root, target(root) / "debug", folder / "debug")
    yield folder
    shutil.rmtree(folder)


def test_the_steps_of_the_container_file_run(root: pathlib.Path, seeded: pathlib.Path) -> None:
    said = works(root / "scripts/container-steps", "--debug", "--target", seeded)
    assert "started as 10001:10001, found on its port, stopped in" in said


# Certificates


def test_the_commands_of_the_guide_make_certificates(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    commands = [block for block in blocks(root, "tls", "sh") if "openssl req" in block]
    own, *authority = commands
    assert len(authority) == 3
    printed = works("sh", "-ec", own, cwd=tmp_path).split()[0]
    der = ssl.PEM_cert_to_DER_cert((tmp_path / "cert.pem").read_text())
    assert printed == works("sha256sum", input_bytes(tmp_path, der)).split()[0]
    for block in authority:
        works("sh", "-ec", block, cwd=tmp_path)
    # As strict as Python is from 3.13 on.
    verify = ["openssl", "verify", "-x509_strict", "-CAfile", "ca.pem"]
    works(*verify, "-purpose", "sslserver", "-verify_hostname", "game.lan", "cert.pem", cwd=tmp_path)
    works(*verify, "-purpose", "sslserver", "-verify_ip", "192.168.1.10", "cert.pem", cwd=tmp_path)
    works(*verify, "-purpose", "sslclient", "me.pem", cwd=tmp_path)
    assert run(*verify, "-purpose", "sslserver", "me.pem", cwd=tmp_path).returncode != 0


def test_the_commands_of_the_guide_show_what_is_wrong(
    root: pathlib.Path, program: pathlib.Path, pem: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    table = (root / "docs/guides/tls.md").read_text(encoding="utf-8").partition("## When it does not work")[2]
    commands = re.findall(r"`(openssl s_client .*?)`", table.replace("\\|", "|"))
    log = tmp_path / "server.log"
    for name in "me.pem", "me.key", "ca.pem":
        shutil.copy(pem, tmp_path / name)
    with running([program, "--listen", "127.0.0.1:0", "--tls", pem], log, r"server up on (\S+)") as (_, up):
        said = []
        for command in commands:
            done = run(
                "sh", "-c", command.replace("HOST:7777", up[1]), cwd=tmp_path, stdin=subprocess.DEVNULL
            )
            assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
            said.append(done.stdout)
        (pin,) = re.findall(r"sha256:([0-9a-f]{64})", log.read_text())
    signs = [
        "BEGIN CERTIFICATE",
        "Verify return code: 0 (ok)",
        "DNS:localhost",
        "notAfter=",
        pin,
        "BEGIN CERTIFICATE",
        "Protocol  : TLSv1.2",
        "ALPN protocol: http/1.1",
    ]
    assert [sign in text for sign, text in zip(signs, said, strict=True)] == [True] * len(signs)
    with running([program, "--listen", "127.0.0.1:0"], log, r"server up on (\S+)") as (_, up):
        done = run("openssl", "s_client", "-connect", up[1], stdin=subprocess.DEVNULL)
        assert "unexpected eof" in done.stderr
        assert "no peer certificate available" in done.stdout


def test_the_client_of_the_guide_pins_what_the_log_says(
    root: pathlib.Path, program: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    (piece,) = blocks(root, "tls", "python")
    log = tmp_path / "server.log"
    with running(
        [program, "--listen", "127.0.0.1:0", "--tls", "self-signed"], log, r"server up on (\S+)"
    ) as (_, up):
        (pin,) = re.findall(r"sha256:[0-9a-f]{64}", log.read_text())
        wrong = pin[:-1] + ("0" if pin[-1] != "0" else "1")
        for given, code in [(pin, 0), (wrong, 1)]:
            inside = replaced(
                piece,
                address=("localhost:7777", up[1]),
                pin=("sha256:...", given),
                body=("    ...\n", "    print(client.name)\n"),
            )
            whole = f"import asyncio, arena, tagwire\nasync def main():\n{textwrap.indent(inside, '    ')}"
            path = f"{root}/clients/python:{root}/clients/python/gen"
            done = run(
                *[sys.executable, "-c", f"{whole}\nasyncio.run(main())\n"],
                env=os.environ | {"PYTHONPATH": path},
            )
            assert (done.returncode, done.stdout) == (code, "player1\n" if code == 0 else ""), done.stderr


def input_bytes(folder: pathlib.Path, data: bytes) -> pathlib.Path:
    path = folder / "input"
    path.write_bytes(data)
    return path


def test_the_hook_of_the_guide_installs_what_was_renewed(root: pathlib.Path, tmp_path: pathlib.Path) -> None:
    (hook,) = [block for block in blocks(root, "tls", "sh") if block.startswith("#!")]
    lineage, etc = tmp_path / "live", tmp_path / "etc"
    for folder in lineage, etc:
        folder.mkdir()
    (lineage / "fullchain.pem").write_text("chain")
    (lineage / "privkey.pem").write_text("key")
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\n')
    systemctl.chmod(0o755)
    # Neither this user nor that group need exist here.
    hook = replaced(hook, owner=("-o root -g tagwire ", ""), etc=("/etc/tagwire/", f"{etc}/"))
    path = f"{tmp_path}:{os.environ['PATH']}"
    works("sh", "-c", hook, env=os.environ | {"RENEWED_LINEAGE": str(lineage), "PATH": path})
    assert (etc / "cert.pem").read_text() == "chain"
    assert (etc / "key.pem").read_text() == "key"
    assert (etc / "key.pem").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "called").read_text() == "reload tagwire-server\n"


# Balancers


class Ports:
    """Where a balancer listens here, in place of the ports in the guide."""

    def __init__(self) -> None:
        with ExitStack() as stack:
            taken = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(2)]
            self.plain, self.tls = (one.getsockname()[1] for one in taken)


# From where it reaches the server, so that this is not where players come from.
BALANCER = "127.0.0.9"


def haproxy(root: pathlib.Path, pem: pathlib.Path, ports: Ports, upstream: str) -> pathlib.Path:
    (text,) = blocks(root, "deploying", "haproxy")
    file = pem.parent / "haproxy.cfg"
    file.write_text(
        replaced(
            text,
            plain=("bind :7777", f"bind 127.0.0.1:{ports.plain}"),
            tls=("bind :7778", f"bind 127.0.0.1:{ports.tls}"),
            pem=("/etc/haproxy/game.pem", str(pem)),
            # Whoever runs the tests may have few descriptors.
            few=("maxconn 40000", "maxconn 40"),
            one=("server game1 10.0.0.11:7777", f"server game1 {upstream} source {BALANCER}"),
            two=("    server game2 10.0.0.12:7777\n", ""),
        )
    )
    return file


def nginx(root: pathlib.Path, pem: pathlib.Path, ports: Ports, upstream: str) -> pathlib.Path:
    stream, http = blocks(root, "deploying", "nginx")
    folder = pem.parent
    certificate = {"pem": ("/etc/nginx/game.pem", str(pem)), "key": ("/etc/nginx/game.key", str(pem))}
    stream = replaced(
        stream,
        plain=("listen 7777;", f"listen 127.0.0.1:{ports.plain};"),
        tls=("listen 7778 ssl;", f"listen 127.0.0.1:{ports.tls} ssl;"),
        one=("server 10.0.0.11:7777;", f"server {upstream};"),
        two=("        server 10.0.0.12:7777;\n", ""),
        origin=("proxy_pass game;", f"proxy_pass game; proxy_bind {BALANCER};"),
        **certificate,
    )
    # Nothing outside of the folder, and no port that needs rights.
    http = replaced(
        http,
        listen=("listen 443 ssl;", f"listen unix:{folder}/https ssl;"),
        one=("proxy_pass http://10.0.0.11:7777;", f"proxy_pass http://{upstream};"),
        **certificate,
    )
    kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    paths = "\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds)
    file = folder / "nginx.conf"
    file.write_text(
        f"load_module /usr/lib/nginx/modules/ngx_stream_module.so;\npid {folder}/nginx.pid;\n"
        f"error_log stderr info;\ndaemon off;\nmaster_process off;\nevents {{ }}\n"
        f"http {{\naccess_log off;\n{paths}\n{http}}}\n{stream}"
    )
    return file


def test_haproxy_has_nothing_to_say_of_its_configuration(root: pathlib.Path, pem: pathlib.Path) -> None:
    file = haproxy(root, pem, Ports(), "127.0.0.1:7777")
    done = run("haproxy", "-c", "-f", file)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def test_nginx_takes_its_configurations(root: pathlib.Path, pem: pathlib.Path) -> None:
    done = run("nginx", "-t", "-p", pem.parent, "-c", nginx(root, pem, Ports(), "127.0.0.1:7777"))
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


# A login of the reference's wire: name and password.
LOGIN = b"\x0a\x04hans\x12\x07welcome"
LOGIN = bytes([len(LOGIN), 1]) + LOGIN


def connect(port: int, source: str) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10, source_address=(source, 0))


def wait_until_open(port: int, process: subprocess.Popen[bytes], log: pathlib.Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            return connect(port, "127.0.0.1").close()
        except ConnectionRefusedError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)


def is_closed(link: socket.socket) -> bool:
    try:
        return link.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize("balancer", ["haproxy", "nginx"])
def test_behind_a_balancer_players_have_their_own_address(
    root: pathlib.Path, program: pathlib.Path, pem: pathlib.Path, tmp_path: pathlib.Path, balancer: str
) -> None:
    log, its_log, ports = tmp_path / "server.log", tmp_path / "balancer.log", Ports()
    trust = f"trusted_proxies={BALANCER}/32"
    command = [program, "--listen", "127.0.0.1:0", "--log", "debug", "--set", trust]
    with ExitStack() as stack:
        _, up = stack.enter_context(running(command, log, r"server up on 127\.0\.0\.1:(\d+)"))
        server = int(up[1])
        make = {"haproxy": haproxy, "nginx": nginx}[balancer]
        file = make(root, pem, ports, f"127.0.0.1:{server}")
        start = {
            "haproxy": ["haproxy", "-db", "-f", file],
            "nginx": ["nginx", "-p", tmp_path, "-c", file],
        }[balancer]
        process, _ = stack.enter_context(running(start, its_log, ""))
        wait_until_open(ports.plain, process, its_log)

        def granted(link: socket.socket) -> None:
            stack.enter_context(link)
            link.sendall(LOGIN)
            host, port = link.getsockname()
            wait_for(log, rf"ACCESS GRANTED for hans from {re.escape(host)}:{port}\b")

        granted(connect(ports.plain, "127.0.0.5"))
        context = ssl.create_default_context(cafile=pem)
        granted(context.wrap_socket(connect(ports.tls, "127.0.0.6"), server_hostname="localhost"))
        # Past the balancer: as ever, but for those who claim to be one.
        granted(connect(server, "127.0.0.5"))
        for source, first in [
            ("127.0.0.5", b"PROXY TCP4 10.1.2.3 10.0.0.1 5 7777\r\n"),
            ("127.0.0.5", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\1\2\3\x0a\0\0\1\0\5\x1e\x61"),
            (BALANCER, b""),
        ]:
            with connect(server, source) as link:
                link.sendall(first + LOGIN)
                assert is_closed(link), f"{source} {first!r}"
        assert log.read_text().count("ACCESS GRANTED") == 3
        assert "10.1.2.3" not in log.read_text()


def test_nginx_carries_a_websocket(
    root: pathlib.Path, program: pathlib.Path, pem: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    log, its_log, ports = tmp_path / "server.log", tmp_path / "balancer.log", Ports()
    command = [program, "--listen", "127.0.0.1:0", "--set", "websocket_origins=same"]
    with ExitStack() as stack:
        _, up = stack.enter_context(running(command, log, r"server up on (\S+)"))
        file = nginx(root, pem, ports, up[1])
        process, _ = stack.enter_context(running(["nginx", "-p", tmp_path, "-c", file], its_log, ""))
        wait_until_open(ports.plain, process, its_log)
        context = ssl.create_default_context(cafile=pem)
        for page, status in [("https://localhost", 101), ("https://elsewhere.example", 403)]:
            with socket.socket(socket.AF_UNIX) as link:
                link.settimeout(10)
                link.connect(f"{tmp_path}/https")
                tls = stack.enter_context(context.wrap_socket(link, server_hostname="localhost"))
                # The key is the one of RFC 6455, section 1.3.
                tls.sendall(
                    b"GET /packets HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n"
                    b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                    b"Sec-WebSocket-Protocol: tagwire.v1\r\nOrigin: " + page.encode() + b"\r\n\r\n"
                )
                answer = tls.recv(4096).decode()
                assert answer.startswith(f"HTTP/1.1 {status} "), answer
                if status == 101:
                    assert "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in answer
                    # A binary frame of the client's, with a mask of zeros.
                    tls.sendall(bytes([0x82, 0x80 | len(LOGIN), 0, 0, 0, 0]) + LOGIN)
                    wait_for(log, "ACCESS GRANTED for hans")


@pytest.mark.parametrize("guide", ["tls", "deploying"])
def test_the_python_of_the_guides_is_python(root: pathlib.Path, guide: str) -> None:
    pieces = blocks(root, guide, "python")
    assert pieces
    for piece in pieces:
        ast.parse("async def main():\n" + textwrap.indent(piece, "    "))
