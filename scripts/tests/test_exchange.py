"""One edit of a schema, one `tagwire gen`, and players in Python, in Node and in a page of Chromium exchange
it with each other and with a Rust server: seeded random values as JSON in, canonical JSON out, equal.
"""

import importlib
import json
import os
import pathlib
import queue
import random
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from google.protobuf.message import Message
from test_new_message import seed, target
from test_wild import done
from values import Filler, canonical, from_json

HERE = pathlib.Path(__file__).parent / "exchange"
COUNT = 2000 if os.environ.get("TAGWIRE_LONG") else 50
WAIT = 300.0 if os.environ.get("TAGWIRE_LONG") else 60.0

NEW_FIELDS = """
  Rune rune = 4;
  map<string, Rune> runes_by_place = 5;
"""
SETTINGS = """
[gen]
schema = ["proto"]

[[gen.output]]
language = "python"
out = "clients/python/gen"

[[gen.output]]
language = "typescript"
out = "clients/typescript/gen"
"""
NEW_METHOD = """
  // The same weapon, and the sketches that it is made by.
  rpc Forge(ForgeRequest) returns (ForgeReply);
"""
NEW_MESSAGES = """
enum Rune {
  RUNE_UNSPECIFIED = 0;
  RUNE_FIRE = 1;
  RUNE_CURSE = -1;
}

// A drawing: every kind of value.
message Sketch {
  option (tagwire.v1.rules) = { tag: 4, from: CLIENT, to: ROOM, max_rate: "100000/s" };

  double a_double = 1;
  float a_float = 2;
  int32 an_int32 = 3;
  int64 an_int64 = 4;
  uint32 a_uint32 = 5;
  uint64 a_uint64 = 6;
  sint32 a_sint32 = 7;
  sint64 a_sint64 = 8;
  fixed32 a_fixed32 = 9;
  fixed64 a_fixed64 = 10;
  sfixed32 a_sfixed32 = 11;
  sfixed64 a_sfixed64 = 12;
  bool a_bool = 13;
  string a_string = 14;
  bytes some_bytes = 15;
  optional int64 maybe = 16;
  optional string maybe_text = 17;
  repeated sint64 numbers = 18;
  repeated float floats = 19;
  repeated string names = 20;
  repeated Rune runes = 21;
  map<string, int32> counts = 22;
  map<int64, Weapon> weapons = 23;
  map<bool, bytes> blobs = 24;
  google.protobuf.Timestamp at = 25;
  google.protobuf.Duration lasts = 26;
  google.protobuf.Struct notes = 27;
  oneof drawn_with {
    string pen = 28;
    Weapon weapon = 29;
    google.protobuf.Empty nothing = 30;
  }
  Sketch below = 31;
}

message ForgeRequest {
  option (tagwire.v1.rules) = { tag: 257, from: CLIENT, max_rate: "100000/s" };

  Weapon weapon = 1;
  repeated Sketch sketches = 2;
}

message ForgeReply {
  Weapon weapon = 1;
  repeated Sketch sketches = 2;
}
"""
IMPORTS = "".join(
    f'import "google/protobuf/{name}.proto";\n' for name in ("duration", "empty", "struct", "timestamp")
)


def edited(text: str) -> str:
    """The schema with new fields in a message, a new method in a service, and new messages."""
    for before, new in [
        ("  optional double weight = 3;\n", NEW_FIELDS),
        ("  rpc Mend(MendRequest) returns (MendReply);\n", NEW_METHOD),
        ("package duel.v1;\n\n", IMPORTS),
    ]:
        assert text.count(before) == 1
        text = text.replace(before, before + new)
    return text + NEW_MESSAGES


class Player:
    """A program that plays, in whatever language."""

    def __init__(self, kind: str, name: str, *command: str | pathlib.Path, **env: str) -> None:
        self.kind, self.name = kind, name
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env=os.environ | env,
        )
        self.lines: queue.SimpleQueue[dict[str, Any] | None] = queue.SimpleQueue()
        self.reading = threading.Thread(target=self.read)
        self.reading.start()

    def read(self) -> None:
        assert self.process.stdout is not None
        try:
            for line in self.process.stdout:
                self.lines.put(json.loads(line))
        finally:
            self.lines.put(None)

    def next(self) -> dict[str, Any]:
        """The next thing that it says."""
        said = self.lines.get(timeout=WAIT)
        assert said is not None, f"{self.name} has ended"
        return said

    def do(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def end(self) -> int:
        """Lets it leave, or ends it after a while; gives how it ended."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.close()
            return self.process.wait(timeout=30)
        except (subprocess.TimeoutExpired, BrokenPipeError):
            self.process.kill()
            return self.process.wait()
        finally:
            self.reading.join()
            self.process.stdout.close()


@pytest.fixture(scope="module")
def project(root: pathlib.Path, client: pathlib.Path) -> Iterator[pathlib.Path]:
    """A game of one's own: its schema edited, its stubs printed again by one run of the command, its server
    built, its players bundled. The stubs of before lie in `old`."""
    folder = target(root) / "exchange"
    shutil.rmtree(folder, ignore_errors=True)
    schema = folder / "proto/duel/v1/duel.proto"
    schema.parent.mkdir(parents=True)
    schema.write_text((HERE / "duel.proto").read_text(encoding="utf-8"), encoding="utf-8")
    done("cargo", "build", "-p", "tagwire-cli", cwd=root)
    tagwire = target(root) / "debug/tagwire"
    (folder / "tagwire.toml").write_text(SETTINGS, encoding="utf-8")
    done(tagwire, "gen", cwd=folder)
    (folder / "clients").rename(folder / "old")

    schema.write_text(edited(schema.read_text(encoding="utf-8")), encoding="utf-8")
    done(tagwire, "gen", cwd=folder)

    (folder / "src").mkdir()
    shutil.copy2(HERE / "main.rs", folder / "src/main.rs")
    shutil.copy2(root / "examples/arena/build.rs", folder / "build.rs")
    shutil.copy2(root / "Cargo.lock", folder / "Cargo.lock")
    # A workspace of its own, as it lies below ours; with our profiles, to find what is built already.
    _, profiles, rest = (root / "Cargo.toml").read_text(encoding="utf-8").partition("[profile.dev]")
    (folder / "Cargo.toml").write_text(
        '[package]\nname = "duel"\nversion = "0.1.0"\nedition = "2024"\n\n[dependencies]\n'
        f'tagwire = {{ path = "{root}" }}\ntagwire-server = {{ path = "{root}/server" }}\n\n'
        f'[build-dependencies]\ntagwire-codegen = {{ path = "{root}/codegen" }}\n\n[workspace]\n\n'
        f"{profiles}{rest}",
        encoding="utf-8",
    )
    seed(root, target(root) / "debug", folder / "target/debug")
    done("cargo", "build", cwd=folder, CARGO_TARGET_DIR=str(folder / "target"))

    for stubs, players in [("clients", ["node", "page"]), ("old", ["node"])]:
        typed = folder / stubs / "typescript"
        for name in "player.ts", *(f"{player}.ts" for player in players):
            shutil.copy2(HERE / name, typed / name)
        (typed / "node_modules").symlink_to(client / "node_modules")
        for player in players:
            platform = "node" if player == "node" else "browser"
            done(
                *(
                    client / "node_modules/.bin/esbuild",
                    typed / f"{player}.ts",
                    "--bundle",
                    "--log-level=warning",
                ),
                *(f"--platform={platform}", "--format=esm" if player == "node" else "--format=iife"),
                f"--alias:duel={typed / 'gen/duel/index.ts'}",
                f"--alias:@tagwire/client={client / 'dist/src/index.js'}",
                *(["--external:ws"] if player == "node" else []),
                f"--outfile={typed / player}.{'mjs' if player == 'node' else 'js'}",
                cwd=typed,
            )
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def address(project: pathlib.Path, tmp_path: pathlib.Path) -> Iterator[str]:
    """Where the game's server listens."""
    # Players send as fast as they can.
    rates = "max_frames_per_second", "max_bytes_per_second"
    flags = [part for rate in rates for part in ("--set", f"limits.{rate}=0")]
    with subprocess.Popen(
        [project / "target/debug/duel", "--listen", "127.0.0.1:0", *flags],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as server:
        assert server.stdout is not None
        yield next(found[1] for line in server.stdout if (found := re.search(r"server up on (\S+)", line)))
        server.terminate()
        said = server.stdout.read()
    assert server.returncode == 0, said


@pytest.fixture
def players(root: pathlib.Path, project: pathlib.Path, address: str) -> Iterator[Any]:
    """Starts players: `start(kind, name, stubs)`."""
    started: list[Player] = []

    def start(kind: str, name: str, stubs: str = "clients") -> Player:
        typed = project / stubs / "typescript"
        path = f"{project / stubs / 'python/gen'}:{root / 'clients/python'}"
        match kind:
            case "Python":
                player = Player(
                    kind, name, sys.executable, HERE / "player.py", address, name, PYTHONPATH=path
                )
            case "Node":
                player = Player(kind, name, "node", typed / "node.mjs", address, name)
            case _:
                bundle = typed / "page.js"
                player = Player(kind, name, "node", HERE / "browser.mjs", f"ws://{address}", name, bundle)
        started.append(player)
        return player

    yield start
    codes = {player.name: player.end() for player in started}
    assert set(codes.values()) <= {0}, codes


@pytest.fixture(scope="module")
def schema(project: pathlib.Path) -> Any:
    """The edited one, as Python has it."""
    sys.path.insert(0, str(project / "clients/python/gen"))
    try:
        return importlib.import_module("duel").SCHEMA
    finally:
        sys.path.pop(0)


KINDS = ["Python", "Node", "Chromium"]
ASKS = {"mend": "duel.v1.MendRequest", "forge": "duel.v1.ForgeRequest"}


class Values:
    """Random messages, the same for a seed."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self.seed = random.randrange(2**32)
        self.rng = random.Random(self.seed)

    def of(self, name: str) -> str:
        """Canonical JSON of a new message."""
        kind: type[Message] = self.schema.message(name)
        message = kind()
        share = self.rng.choice([0.0, 0.3, 0.7, 1.0])
        # Frames have an end, so lists in lists do.
        Filler(self.rng, []).fill(message, share, 1)
        return canonical(message, self.schema.pool)

    def same(self, name: str, text: str, said: Any) -> bool:
        """Whether what a player says is the message of this text, by the rules of JSON for messages."""
        kind = self.schema.message(name)
        return canonical(from_json(json.dumps(said), kind, self.schema.pool), self.schema.pool) == text


def ready(*players: Player) -> None:
    """All are in the room."""
    for player in players:
        assert player.next()["ready"] == player.name


def test_one_edit_reaches_all_languages(
    schema: Any, players: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    # Two of each, so that each kind hears its own, too.
    everyone = [players(kind, f"{kind}{number}") for kind in KINDS for number in (1, 2)]
    ready(*everyone)
    values = Values(schema)
    matrix: dict[tuple[str, str], int] = {}
    for sender in everyone[::2]:
        sent = [
            (name, values.of(name)) for _ in range(COUNT) for name in ("duel.v1.Weapon", "duel.v1.Sketch")
        ]
        for name, text in sent:
            sender.do(send=name, json=json.loads(text))
        for receiver in everyone:
            if receiver is sender:
                continue
            for name, text in sent:
                got = receiver.next()
                where = f"seed {values.seed}, {sender.name} to {receiver.name}"
                assert (got["got"], got["by"]) == (name, sender.name), where
                assert values.same(name, text, got["json"]), f"{where}: {text} became {got['json']}"
                matrix[sender.kind, receiver.kind] = matrix.get((sender.kind, receiver.kind), 0) + 1
        for method, request in ASKS.items():
            for _ in range(COUNT):
                text = values.of(request)
                sender.do(ask=method, of=request, json=json.loads(text))
                reply = sender.next()["reply"]
                where = f"seed {values.seed}, {sender.name} asks {method}"
                # The reply has the fields of the request, by the same numbers.
                assert values.same(request, text, reply), f"{where}: {text} became {reply}"
                matrix[sender.kind, "server"] = matrix.get((sender.kind, "server"), 0) + 1
    columns = [*KINDS, "server"]
    rows = [f"{kind:>10}" + "".join(f"{matrix[kind, column]:>10}" for column in columns) for kind in KINDS]
    with capsys.disabled():
        head = "".join(f"{column:>10}" for column in columns)
        print(f"\nexchange, equal values (seed {values.seed})\n{'from / to':>10}{head}\n" + "\n".join(rows))
    # One other of its own kind, two of each other kind, two messages; two methods.
    assert matrix == {
        (one, other): 2 * COUNT * (1 if one == other or other == "server" else 2)
        for one in KINDS
        for other in columns
    }


@pytest.mark.parametrize("kind", ["Python", "Node"])
def test_stubs_of_before_the_edit_fail_their_row(schema: Any, players: Any, kind: str) -> None:
    old, new = players(kind, "old", "old"), players("Python", "new")
    said = {player.name: player.next() for player in (old, new)}
    # It may play, and is told that the server has more.
    assert (said["old"]["verdict"], said["new"]["verdict"]) == ("COMPATIBLE", "SAME")
    values = Values(schema)
    text = json.dumps(
        {"name": "axe", "rune": "RUNE_FIRE", "runesByPlace": {"hilt": "RUNE_CURSE"}}, sort_keys=True
    )
    new.do(send="duel.v1.Weapon", json=json.loads(text))
    got = old.next()
    assert got["got"] == "duel.v1.Weapon"
    assert not values.same("duel.v1.Weapon", text, got["json"]), "the stubs are those of after the edit"
    assert got["json"] == {"name": "axe"}
    # The new message is nothing that it knows.
    new.do(send="duel.v1.Sketch", json={"aString": "x"})
    new.do(send="duel.v1.Weapon", json={"name": "last"})
    assert old.next()["json"] == {"name": "last"}
