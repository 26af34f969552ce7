"""protovalidate judges each case of the corpus as the corpus says.

`server/tests/constraints.rs` holds our two checks against the same file.
"""

import json
import pathlib

import pytest
from google.protobuf import text_format

CASES = pathlib.Path(__file__).resolve().parents[2] / "codegen/tests/golden/valid/cases.json"


def test_every_case_is_judged_as_the_corpus_says() -> None:
    protovalidate = pytest.importorskip("protovalidate", reason="it needs Python 3.11")
    from tagwire.validate import _path
    from valid import SCHEMA

    validator = protovalidate.Validator()
    cases = json.loads(CASES.read_text())
    wrong = []
    for case in cases:
        message = text_format.Parse(case["text"], SCHEMA.message(f"valid.v1.{case['message']}")())
        if message.SerializeToString(deterministic=True).hex() != case["hex"]:
            wrong.append(f"{case}: the text is not the bytes")
        found = validator.collect_violations(message)
        broken = [f"{_path(one.proto.field)}: {one.proto.rule_id}" for one in found]
        if broken != case["broken"]:
            wrong.append(f"{case}: {broken}")
    assert not wrong, "\n".join(wrong)
    assert len(cases) >= 350
