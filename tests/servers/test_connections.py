"""An answer belongs to its request, whatever else comes over the wire."""

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from raw_server import RawServer, http, says

from r1reward.servers.client import ServerClient, ServerError
from r1reward.servers.replies import Fault, Reply

MakeClient = Callable[..., ServerClient]


def body_of(text: str) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": text}]}


def echo(body: dict[str, Any]) -> bytes:
    return http(200, says("to " + body["messages"][0]["content"]))


def test_a_second_answer_to_a_request_is_never_that_of_the_next(
    raw_server: RawServer, make_client: MakeClient
) -> None:
    raw_server.answer = lambda body, headers: echo(body) + http(200, says("stray"))
    client = make_client()
    for number in range(20):
        assert client.ask(body_of(f"q{number}"), about={}) == Reply(f"to q{number}", None, None)
    assert raw_server.connections == 20
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: client.ask(body_of(f"q{number}"), about={}), range(60)))
    assert [reply.text for reply in found if isinstance(reply, Reply)] == [f"to q{n}" for n in range(60)]


def test_a_late_answer_is_not_taken_for_that_of_the_next(
    raw_server: RawServer, make_client: MakeClient
) -> None:
    late = threading.Event()

    def answer(body: dict[str, Any], headers: dict[str, str]) -> bytes:
        if body["messages"][0]["content"] == "slow":
            late.wait(timeout=30)
        return echo(body)

    raw_server.answer = answer
    client = make_client(timeout_seconds=0.3, max_retries=0)
    assert client.ask(body_of("slow"), about={}) == Fault("timeout", "TimeoutError")
    late.set()
    assert [client.ask(body_of(f"q{n}"), about={}) for n in range(5)] == [
        Reply(f"to q{n}", None, None) for n in range(5)
    ]


@pytest.mark.parametrize("place", ["header", "id"])
def test_an_answer_that_names_another_request_is_asked_for_again(
    raw_server: RawServer, make_client: MakeClient, place: str
) -> None:
    names: list[str] = []

    def answer(body: dict[str, Any], headers: dict[str, str]) -> bytes:
        names.append(headers["x-request-id"])
        named = names[0] if len(names) == 2 else names[-1]
        given = {"id": f"chatcmpl-{named}"} if place == "id" else {}
        return http(
            200, {**says(f"to {named}"), **given}, {"x-request-id": named} if place == "header" else {}
        )

    raw_server.answer = answer
    client = make_client()
    for number in range(2):
        reply = client.ask(body_of("q"), about={})
        assert isinstance(reply, Reply) and reply.text == f"to {names[[0, 2][number]]}"
    assert client.record()["faults"] == {"stray_answer": 1} and len(set(names)) == 3


@pytest.mark.parametrize(
    ("sent", "kind"),
    [
        (b"", "connection"),
        (b"HTTP/1.1 200 OK\r\n\r\n", "not_json"),
        (b"no http at all\r\n\r\n", "connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{", "connection"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "connection"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nxxxx", "connection"),
        (b"HTTP/1.1 500 Oh\r\ncontent-length: 99\r\n\r\nxx", "connection"),
        (b"HTTP/1.1 400 Oh\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nxxxx", "connection"),
        (b"HTTP/1.1 302 Found\r\nlocation: http://[::\r\ncontent-length: 0\r\n\r\n", "connection"),
        (b"HTTP/1.1 304 Same\r\ncontent-length: 0\r\n\r\n", "http_304"),
        (http(200, b"1", {"content-type": "application/json; charset=none-such"}), "wrong_type"),
        (http(500, b"[" * 200_000), "http_500"),
        (http(500, b"x" * 9_000_000), "http_500"),
    ],
)
def test_what_is_no_answer_is_a_fault(
    raw_server: RawServer, make_client: MakeClient, sent: bytes, kind: str
) -> None:
    raw_server.answer, raw_server.hangs_up = lambda body, headers: sent, True
    client = make_client(max_retries=0)
    outcome = client.ask(body_of("q"), about={})
    assert isinstance(outcome, Fault) and outcome.kind == kind


@pytest.mark.parametrize(
    "variable",
    [
        {"HTTP_PROXY": "gopher://user:hidden@127.0.0.1:1"},
        {"ALL_PROXY": "socks://user:hidden@127.0.0.1:1"},
        {"SSL_CERT_FILE": "/none/hidden"},
    ],
)
def test_a_proxy_or_certificate_of_no_use_is_named_without_what_is_in_it(
    make_client: MakeClient, monkeypatch: pytest.MonkeyPatch, variable: dict[str, str]
) -> None:
    for name, value in variable.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ServerError, match="ALL_PROXY, HTTP_PROXY") as caught:
        make_client()
    assert "hidden" not in str(caught.value)


def test_a_connection_that_fails_says_why(make_client: MakeClient) -> None:
    fault = make_client(base_url="http://127.0.0.1:9/v1", max_retries=0).ask(body_of("q"), about={})
    assert isinstance(fault, Fault) and "Connection refused" in fault.message


def test_an_error_that_never_ends_is_bounded_in_time(
    raw_server: RawServer, make_client: MakeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = b"HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n"
    raw_server.answer = lambda body, headers: head + b"1\r\nx\r\n" * 3
    hours = iter(range(0, 10**9, 3600))
    client = make_client(max_retries=0)
    monkeypatch.setattr("r1reward.servers.client.time", SimpleNamespace(time=lambda: next(hours)))
    assert client.ask(body_of("q"), about={}) == Fault("timeout", "the answer came too slowly")


def test_no_key_is_shown_in_any_form(
    raw_server: RawServer, make_client: MakeClient, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def answer(body: dict[str, Any], headers: dict[str, str]) -> bytes:
        key = headers["authorization"].removeprefix("Bearer ")
        said = json.dumps({"error": {"message": f"bad key {key}"}}).replace("/", "\\/").encode()
        return http(403, said)

    raw_server.answer = answer
    client = make_client(tmp_path / "log.jsonl")
    fault = client.ask(body_of("q"), about={})
    assert isinstance(fault, Fault) and fault.said == "bad key ***"
    shown = "".join([repr(fault), client.advice(fault), caplog.text, (tmp_path / "log.jsonl").read_text()])
    assert "refuses the key" in shown and "0123456789" not in shown and "abcdef" not in shown
