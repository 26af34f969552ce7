"""A schema that nobody tuned for, made of the keywords of ten languages, is printed, compiles and goes round:
JSON to Python's bytes, through Rust, through TypeScript and back to JSON, equal at each step.
"""

import json
import keyword
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import wild_schema
from google.protobuf.message import Message
from test_new_message import seed, target
from values import Filler, canonical, from_json

LONG = bool(os.environ.get("TAGWIRE_LONG"))
ENV = os.environ | {"PROTOC": "/nonexistent", "CARGO_INCREMENTAL": "0"}


def run(*command: str | pathlib.Path, cwd: pathlib.Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=cwd, env=ENV | more, capture_output=True, text=True, timeout=900)


def done(*command: str | pathlib.Path, cwd: pathlib.Path, **more: str) -> str:
    result = run(*command, cwd=cwd, **more)
    assert result.returncode == 0, (result.stdout + result.stderr)[-20000:]
    return result.stdout


@pytest.fixture(scope="session")
def tagwire(root: pathlib.Path) -> pathlib.Path:
    """The command, built."""
    done("cargo", "build", "-p", "tagwire-cli", cwd=root)
    return target(root) / "debug/tagwire"


@pytest.fixture(scope="session")
def wild(root: pathlib.Path, tagwire: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder with the schema, and what is printed from it by one run of the command."""
    folder = target(root) / "wild"
    shutil.rmtree(folder, ignore_errors=True)
    count = wild_schema.write(folder / "proto")
    assert count > 100
    for language in "python", "typescript":
        args = "--schema", folder / "proto", "--lang", language, "--out", folder / language
        done(tagwire, "gen", *args, cwd=folder)
    yield folder
    shutil.rmtree(folder)


def test_the_words_are_those_of_the_languages() -> None:
    words = set(wild_schema.words())
    assert {*keyword.kwlist, *keyword.softkwlist} - words <= set(wild_schema.REFUSED)
    assert len(words) > 550
    lines = (wild_schema.WILD / "words.txt").read_text(encoding="utf-8").splitlines()
    languages = {line.partition(":")[0] for line in lines if re.match("[a-z]+: ", line)}
    assert languages == {
        *("rust", "python", "typescript", "go", "csharp", "cpp", "java", "gdscript", "lua", "proto")
    }


HEAD = 'syntax = "proto3";\npackage game;\nimport "tagwire/v1/options.proto";\n'


@pytest.mark.parametrize(
    ("body", "line", "found"),
    [
        ("message A { int32 _ = 1; }", 4, "field game.A._ has a name of bars alone"),
        (
            "message A { option (tagwire.v1.rules) = { tag: 2, from: CLIENT }; }\n"
            "service From { rpc Ask(A) returns (A); }",
            5,
            "would both be the type in Rust `FromServer`",
        ),
        (
            "enum K { ZERO = 0; }\nmessage A {\n  map<int32, K> name = 1;\n  K GetName = 2;\n}",
            7,
            "field game.A.GetName and field game.A.name",
        ),
        ("message A { A hasOwnProperty = 1; }", 4, "which every object has"),
        ("message A { map<int32, int32> _1 = 1; }", 4, "would be the message `1Entry`"),
        ("message Self {}\nmessage self {}", 5, "would both be the type in Rust `Self_`"),
    ],
)
def test_what_no_language_can_tell_apart_is_refused(
    tagwire: pathlib.Path, tmp_path: pathlib.Path, body: str, line: int, found: str
) -> None:
    (tmp_path / "game.proto").write_text(HEAD + body, encoding="utf-8")
    result = run(tagwire, "check", "--schema", tmp_path, cwd=tmp_path)
    assert result.returncode != 0
    assert f"game.proto:{line}: " in result.stderr
    assert found in result.stderr


def test_python_is_typed(root: pathlib.Path, wild: pathlib.Path) -> None:
    path = f"{wild / 'python'}:{root / 'clients/python'}"
    mypy = sys.executable, "-m", "mypy", "--strict", "--python-version", "3.10", wild / "python/wild"
    assert done(*mypy, cwd=wild, MYPYPATH=path).startswith("Success: no issues found in ")


@pytest.fixture(scope="session")
def typescript(root: pathlib.Path, wild: pathlib.Path, client: pathlib.Path) -> pathlib.Path:
    """The program that takes messages in TypeScript, checked by tsc and bundled."""
    (wild / "typescript/again.ts").write_bytes((wild_schema.WILD / "again.ts").read_bytes())
    options = {
        "target": "ES2022",
        "lib": ["ES2022", "DOM"],
        "module": "NodeNext",
        "moduleResolution": "NodeNext",
        "strict": True,
        "noUncheckedIndexedAccess": True,
        "exactOptionalPropertyTypes": True,
        "noUnusedLocals": True,
        "noUnusedParameters": True,
        "noImplicitOverride": True,
        "verbatimModuleSyntax": True,
        "isolatedModules": True,
        "noEmit": True,
        "types": ["node"],
        "paths": {
            "wild": ["./wild/index.ts"],
            "@tagwire/client": [str(client / "dist/src/index.d.ts")],
        },
    }
    (wild / "typescript/tsconfig.json").write_text(json.dumps({"compilerOptions": options, "include": ["."]}))
    (wild / "typescript/package.json").write_text('{"type": "module"}')
    (wild / "typescript/node_modules").symlink_to(client / "node_modules")
    return wild / "typescript"


def test_typescript_is_typed(typescript: pathlib.Path, client: pathlib.Path) -> None:
    assert done(client / "node_modules/.bin/tsc", "-p", typescript, cwd=typescript) == ""


@pytest.fixture(scope="session")
def in_typescript(typescript: pathlib.Path, client: pathlib.Path) -> list[str | pathlib.Path]:
    """The command that takes messages in TypeScript."""
    bundle = typescript / "again.mjs"
    done(
        client / "node_modules/.bin/esbuild",
        typescript / "again.ts",
        "--bundle",
        "--platform=node",
        "--format=esm",
        f"--alias:wild={typescript / 'wild/index.ts'}",
        f"--alias:@tagwire/client={client / 'dist/src/index.js'}",
        f"--outfile={bundle}",
        "--log-level=warning",
        cwd=client,
    )
    return ["node", bundle]


@pytest.fixture(scope="session")
def in_rust(root: pathlib.Path, wild: pathlib.Path) -> list[str | pathlib.Path]:
    """The command that takes messages in Rust."""
    crate = wild / "rust"
    shutil.copytree(wild_schema.WILD / "src", crate / "src")
    shutil.copy2(wild_schema.WILD / "build.rs", crate / "build.rs")
    shutil.copy2(root / "Cargo.lock", crate / "Cargo.lock")
    manifest = (wild_schema.WILD / "Cargo.toml").read_text(encoding="utf-8").replace("TAGWIRE", str(root))
    # With our profiles, to find what is built already.
    _, profiles, rest = (root / "Cargo.toml").read_text(encoding="utf-8").partition("[profile.dev]")
    manifest += profiles + rest
    (crate / "Cargo.toml").write_text(manifest, encoding="utf-8")
    (crate / "proto").symlink_to(wild / "proto")
    built = wild / "target"
    seed(root, target(root) / "debug", built / "debug")
    # What has no use here is known; all else that rustc has to say is ours.
    result = run("cargo", "build", cwd=crate, CARGO_TARGET_DIR=str(built))
    assert result.returncode == 0, result.stderr[-20000:]
    warnings = [text for text in result.stderr.split("\n\n") if "schema.rs" in text]
    assert not warnings, warnings[:5]
    return [built / "debug/wild"]


def test_messages_go_round(
    wild: pathlib.Path,
    in_rust: list[str | pathlib.Path],
    in_typescript: list[str | pathlib.Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    sys.path.insert(0, str(wild / "python"))
    try:
        import wild as package  # type: ignore[import-not-found]
    finally:
        sys.path.pop(0)
    schema: Any = package.SCHEMA
    pool = schema.pool
    seed_ = random.randrange(2**32)
    rng = random.Random(seed_)
    # The requests are all empty.
    travelling = [rules for rules in schema.rules if not rules.request]
    kinds: list[type[Message]] = [schema.message(rules.name) for rules in travelling]
    filler = Filler(rng, kinds)
    cases = []
    for rules, kind in zip(travelling, kinds, strict=True):
        # Nothing, everything, and something in between, as often as there is something to choose: the shapes
        # have it, while the words are there for their names.
        shaped = LONG or rules.name.startswith("wild.shapes.")
        many = min(len(kind.DESCRIPTOR.fields) + 1, 4) * (15 if shaped else 1)
        for share in [0.0, 1.0, *(rng.choice([0.1, 0.5, 0.9]) for _ in range(many))]:
            if share and not kind.DESCRIPTOR.fields:
                continue
            made = kind()
            filler.fill(made, share)
            text = canonical(made, pool)
            message = from_json(text, kind, pool)
            wire = message.SerializeToString(deterministic=True)
            assert canonical(message, pool) == text, f"seed {seed_}, {rules.name}: Python's own JSON"
            cases.append((rules, kind, text, wire))

    def answers(command: list[str | pathlib.Path], lines: list[str]) -> list[str]:
        result = subprocess.run(
            command, input="\n".join(lines) + "\n", capture_output=True, text=True, timeout=600
        )
        assert result.returncode == 0, result.stderr[-5000:]
        assert result.stdout.count("\n") == len(lines), f"{result.stdout.count(chr(10))} answers"
        # Not splitlines, to which a line of JSON may be several.
        return result.stdout.split("\n")[:-1]

    def equal(step: str, rules: Any, kind: type[Message], text: str, wire: str | bytes) -> bytes:
        got = bytes.fromhex(wire) if isinstance(wire, str) else wire
        back = kind.FromString(got)
        assert canonical(back, pool) == text, f"seed {seed_}, {rules.name}: {step}"
        return got

    rust = answers(in_rust, [f"{rules.name} {wire.hex()}" for rules, _, _, wire in cases])
    for (rules, kind, text, _), answer in zip(cases, rust, strict=True):
        assert not answer.startswith("error"), f"seed {seed_}, {rules.name}: {answer}"
        equal("Rust encoded it again", rules, kind, text, answer)
    typed = answers(
        in_typescript,
        [f"{rules.tag} {answer}" for (rules, *_), answer in zip(cases, rust, strict=True)],
    )
    for (rules, kind, text, _), line in zip(cases, typed, strict=True):
        answer = json.loads(line)
        assert "error" not in answer, f"seed {seed_}, {rules.name}: {answer} {text}"
        said = from_json(json.dumps(answer["json"]), kind, pool)
        assert canonical(said, pool) == text, f"seed {seed_}, {rules.name}: TypeScript's JSON"
        equal("TypeScript encoded it again", rules, kind, text, answer["bytes"])
        equal("TypeScript encoded it again from JSON", rules, kind, text, answer["read"])
    size = sum(len(wire) for *_, wire in cases)
    with capsys.disabled():
        print(
            f"\nwild: {len(cases)} values of {len(kinds)} messages, {size} bytes, "
            f"equal in Python, Rust and TypeScript (seed {seed_})"
        )
