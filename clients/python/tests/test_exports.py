"""The public names, and that generated tables and hand-written classes agree."""

from __future__ import annotations

import importlib
import pkgutil

import pytest

import tagwire
from tagwire.gen import v1 as stack

PUBLIC = {
    "AddressError",
    "Answer",
    "Batch",
    "BufferFull",
    "Client",
    "CloseCode",
    "Closed",
    "ConnectError",
    "Connecting",
    "ConnectionClosed",
    "Dropped",
    "InvalidMessage",
    "LoginRefused",
    "Member",
    "MemberChange",
    "MemberChanged",
    "NoticeReason",
    "NoticeWarning",
    "Noticed",
    "Pinged",
    "Reconnect",
    "Reconnected",
    "Reconnecting",
    "RequestFailed",
    "RequestTimeout",
    "RoomEnded",
    "Rules",
    "Schema",
    "SchemaMismatch",
    "Service",
    "Status",
    "SyncBatch",
    "SyncClient",
    "SyncService",
    "TagwireError",
    "Tls",
    "Verdict",
    "__version__",
    "connect",
    "connect_sync",
}

MODULES = [
    "address",
    "ask",
    "backlog",
    "batch",
    "client",
    "clock",
    "close",
    "connecting",
    "connection",
    "credential",
    "deadline",
    "elsewhere",
    "errors",
    "events",
    "frame",
    "handlers",
    "named",
    "network",
    "notice",
    "outbox",
    "pump",
    "reconnect",
    "reconnecting",
    "schema",
    "sending",
    "service",
    "session",
    "tcp",
    "tls",
    "transport",
    "validate",
    "version",
    "websocket",
]


def test_the_public_names_are_these():
    assert set(tagwire.__all__) == PUBLIC
    assert all(hasattr(tagwire, name) for name in PUBLIC)


def test_the_modules_are_these():
    assert (
        sorted(info.name for info in pkgutil.iter_modules(tagwire.__path__) if info.name != "gen") == MODULES
    )


@pytest.mark.parametrize("name", [module for module in MODULES if module not in ("named", "version")])
def test_each_module_has_what_it_says(name):
    module = importlib.import_module(f"tagwire.{name}")
    assert all(hasattr(module, public) for public in module.__all__)


def test_every_public_item_has_a_docstring():
    for name in PUBLIC - {"__version__"}:
        item = getattr(tagwire, name)
        assert item.__doc__, name
        if isinstance(item, type):
            for attribute, value in vars(item).items():
                if not attribute.startswith("_") and (callable(value) or isinstance(value, property)):
                    assert value.__doc__, f"{name}.{attribute}"


def test_every_failure_is_a_tagwire_error_with_code_and_reason():
    for name in ("ConnectError", "LoginRefused", "ConnectionClosed", "RequestFailed", "BufferFull"):
        assert issubclass(getattr(tagwire, name), tagwire.TagwireError)
    assert issubclass(tagwire.RequestTimeout, tagwire.RequestFailed)
    assert issubclass(tagwire.AddressError, tagwire.ConnectError)
    assert issubclass(tagwire.SchemaMismatch, tagwire.LoginRefused)


def test_close_codes_are_those_of_the_generated_table():
    for name, number in stack.CloseCode.Value.items():
        code = getattr(tagwire.CloseCode, name)
        assert code == number
        assert code.name == name
    assert str(tagwire.CloseCode.SHUTDOWN) == "SHUTDOWN (3000)"
    assert f"{tagwire.CloseCode.SHUTDOWN}" == "SHUTDOWN (3000)"
    assert "SHUTDOWN" in dir(tagwire.CloseCode)
    with pytest.raises(AttributeError, match="NOTHING"):
        _ = tagwire.CloseCode.NOTHING


def test_unknown_close_codes_print_and_advise_by_their_range():
    assert str(tagwire.CloseCode(4711)) == "4711"
    assert repr(tagwire.CloseCode(4711)) == "CloseCode(4711)"
    advice = {0: False, 3000: True, 3499: True, 3500: False, 3999: False}
    advice |= {4000: True, 4499: True, 4500: False, 4999: False, 2999: False}
    assert {code: tagwire.CloseCode(code).retryable for code in advice} == advice


def test_a_refused_login_says_what_to_do():
    closed = tagwire.Closed(tagwire.CloseCode.LOGIN_REFUSED, "wrong password", by_peer=True)
    error = tagwire.LoginRefused(closed)
    assert "wrong password" in str(error)
    assert "the dev password is 'welcome' unless the server was told otherwise" in str(error)
    assert (error.code, error.reason, error.retryable) == (3501, "wrong password", False)


def test_a_schema_mismatch_says_what_to_do_and_lists_all_that_differs():
    findings = [f"arena.v1.MouseEvent.f{number}: int32 became string" for number in range(100)]
    closed = tagwire.Closed(tagwire.CloseCode.SCHEMA_MISMATCH, "", by_peer=True, findings=tuple(findings))
    error = tagwire.SchemaMismatch(closed)
    assert error.findings == findings
    first, *rest = str(error).split("\n")
    assert first == (
        "login refused: SCHEMA_MISMATCH (3502), the schema of this client and the server's contradict each "
        "other; run `scripts/gen` (`tagwire gen`) with the server's schema, or update the server"
    )
    assert rest == [f"  {finding}" for finding in findings]
    assert (error.code, error.retryable) == (tagwire.CloseCode.SCHEMA_MISMATCH, False)
    assert "contradict" in error.reason


def test_a_schema_mismatch_keeps_the_servers_own_reason():
    closed = tagwire.Closed(tagwire.CloseCode.SCHEMA_MISMATCH, "only the same is let in", by_peer=True)
    error = tagwire.SchemaMismatch(closed)
    assert error.reason == "only the same is let in"
    assert str(error).startswith("login refused: SCHEMA_MISMATCH (3502), only the same is let in; run ")
    assert "contradict" not in str(error)


def test_verdicts_are_those_of_the_generated_table():
    for name, number in stack.Verdict.Value.items():
        assert getattr(tagwire.Verdict, name) == number
        assert name in (tagwire.Verdict.__doc__ or "")
    assert tagwire.Verdict(9).name == "9"


def test_a_closed_connection_says_who_why_and_when_again():
    closed = tagwire.Closed(tagwire.CloseCode.SHUTDOWN, "restart", by_peer=True, retry_after=2.0)
    error = tagwire.ConnectionClosed(closed)
    assert str(error).startswith("the connection was closed by the server: SHUTDOWN (3000), restart")
    assert (error.code, error.reason, error.by_peer) == (3000, "restart", True)
    assert (error.retryable, error.retry_after) == (True, 2.0)


def test_a_failed_request_says_which_and_why():
    response = stack.Response(status=stack.Status.ILLEGAL, message="not your turn", code=17)
    error = tagwire.RequestFailed("chess.v1.Move", response)
    assert str(error) == "chess.v1.Move was answered with ILLEGAL, code 17: not your turn"
    assert (error.status, error.message, error.code) == (tagwire.Status.ILLEGAL, "not your turn", 17)
