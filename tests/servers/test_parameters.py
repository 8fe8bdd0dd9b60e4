"""What a server refuses is left out, found out once, and said once."""

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from raw_server import RawServer, http, says

from r1reward.files import read_jsonl
from r1reward.servers.client import ServerClient
from r1reward.servers.replies import Fault, Reply
from r1reward.servers.requests import NEUTRAL, chat_body

BODY = chat_body(
    "m", [{"role": "user", "content": "q"}], temperature=0.0, max_tokens=9, seed=4, log_probs=True
)
MakeClient = Callable[..., ServerClient]


def refuse(name: str, status: int, error: object) -> Callable[[dict[str, Any], dict[str, str]], bytes]:
    return lambda body, headers: http(status, error) if name in body else http(200, says("1"))


@pytest.mark.parametrize(
    ("name", "status", "error"),
    [
        ("logprobs", 400, {"error": {"message": "This model does not support logprobs."}}),
        ("logprobs", 403, {"error": {"message": "You are not allowed to request logprobs from this model"}}),
        ("logprobs", 400, {"error": {"message": "bad request", "param": "logprobs"}}),
        ("seed", 400, {"message": "Unsupported parameter: seed"}),
        ("seed", 422, {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs", "input": {"top_p": 1}}]}),
        ("repetition_penalty", 400, {"error": "Unrecognized request argument supplied: repetition_penalty"}),
        ("temperature", 400, {"error": {"message": "'temperature' does not support 0 with this model."}}),
        ("top_k", 404, {"error": {"message": "no endpoint supports top_k"}}),
        ("min_p", 501, {"detail": "min_p is not implemented"}),
        ("logprobs", 500, {"error": {"message": "log probabilities are not supported"}}),
        ("top_p", 400, {"error": {"message": "`temperature` and `top_p` cannot both be specified"}}),
        ("logprobs", 400, {"error": {"message": "logprobs is not supported, unlike temperature"}}),
        ("top_k", 422, {"message": {"detail": [{"loc": ["body", "top_k"], "msg": "Extra inputs"}]}}),
        ("top_k", 400, [{"error": {"code": 400, "message": 'Unknown name "top_k": Cannot find field.'}}]),
        ("seed", 400, {"errors": [{"message": "seed is not supported", "code": 5006}], "success": False}),
        ("seed", 400, {"errors": ["seed is not supported"]}),
        ("seed", 400, {"error": {"error": {"message": "seed is not supported"}}}),
        ("seed", 400, {"code": 1, "msg": "parameter seed is not supported"}),
        ("seed", 400, {"error_code": 336003, "error_msg": "the parameter seed is not supported"}),
        ("seed", 400, {"Message": "seed is not supported"}),
        ("seed", 400, {"title": "Bad Request", "detail": "seed: unsupported"}),
    ],
)
def test_a_request_is_asked_again_without_what_is_refused_and_that_is_remembered(
    raw_server: RawServer,
    make_client: MakeClient,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    name: str,
    status: int,
    error: object,
) -> None:
    raw_server.answer = refuse(name, status, error)
    client = make_client(tmp_path / "log.jsonl", max_retries=0)
    for number in range(3):
        assert client.ask(BODY, about={"n": number}) == Reply("1", None, None)
    assert [name in body for body in raw_server.bodies] == [True, False, False, False]
    assert raw_server.bodies[1] == {key: value for key, value in BODY.items() if key != name}
    assert client.record()["left_out"] == [name]
    assert [row["outcome"] for row in read_jsonl(tmp_path / "log.jsonl")] == [
        f"http_{status}", "answered", "answered", "answered"]  # fmt: skip
    assert client.record()["failed_attempts"] == 0
    (said,) = caplog.messages
    assert f"{name} is not sent" in said and f"http_{status}" in said


def test_a_limit_of_tokens_goes_by_its_other_name(raw_server: RawServer, make_client: MakeClient) -> None:
    message = (
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens'"
    )
    raw_server.answer = refuse("max_tokens", 400, {"error": {"message": message}})
    client = make_client()
    assert isinstance(client.ask(BODY, about={}), Reply) and isinstance(client.ask(BODY, about={}), Reply)
    assert [body.get("max_completion_tokens") for body in raw_server.bodies] == [None, 9, 9]


def test_a_setting_says_what_is_refused(raw_server: RawServer, make_client: MakeClient) -> None:
    client = make_client(refused=("logprobs", "seed", "max_tokens"))
    client.ask(BODY, about={})
    (sent,) = raw_server.bodies
    assert sent == {**{"model": "m", "messages": BODY["messages"], "temperature": 0.0}, **NEUTRAL,
                    "max_completion_tokens": 9}  # fmt: skip
    assert client.record()["left_out"] == ["logprobs", "max_tokens", "seed"]


def test_several_refusals_are_found_out_one_after_the_other(
    raw_server: RawServer, make_client: MakeClient
) -> None:
    refused = ["top_k", "logprobs", "seed"]

    def answer(body: dict[str, Any], headers: dict[str, str]) -> bytes:
        found = [name for name in refused if name in body]
        return http(400, {"error": f"unknown field {found[0]}"}) if found else http(200, says("1"))

    raw_server.answer = answer
    client = make_client()
    assert isinstance(client.ask(BODY, about={}), Reply)
    assert client.record()["left_out"] == sorted(refused) and len(raw_server.bodies) == 4


def test_a_server_that_does_not_say_which_parameter_it_refuses(
    raw_server: RawServer, make_client: MakeClient
) -> None:
    raw_server.answer = refuse("seed", 400, {"error": "Unsupported parameter in the request"})
    client = make_client()
    assert isinstance(client.ask(BODY, about={}), Reply)
    assert client.record()["left_out"] == sorted(["logprobs", "seed", *NEUTRAL])
    assert raw_server.bodies[-1]["temperature"] == 0.0 and raw_server.bodies[-1]["max_tokens"] == 9


def test_a_refused_text_that_speaks_of_a_parameter_takes_nothing_from_others(
    raw_server: RawServer, make_client: MakeClient
) -> None:
    raw_server.answer = lambda body, headers: http(400, {"error": "flagged: 'the seed of evil'"})
    client = make_client()
    fault = client.ask(BODY, about={})
    assert isinstance(fault, Fault) and fault.message == "http_400: \"flagged: 'the seed of evil'\""
    raw_server.answer = lambda body, headers: http(200, says("1"))
    client.ask(BODY, about={})
    assert raw_server.bodies[-1]["seed"] == 4 and client.record()["left_out"] == []


def test_threads_that_are_refused_together_say_it_once(
    raw_server: RawServer, make_client: MakeClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    together = threading.Barrier(4)

    def answer(body: dict[str, Any], headers: dict[str, str]) -> bytes:
        if "logprobs" in body:
            together.wait(timeout=30)
            return http(400, {"error": "no logprobs here"})
        return http(200, says("1"))

    raw_server.answer = answer
    client, found = make_client(), list[object]()
    threads = [threading.Thread(target=lambda: found.append(client.ask(BODY, about={}))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [Reply("1", None, None)] * 4 and len(caplog.messages) == 1
