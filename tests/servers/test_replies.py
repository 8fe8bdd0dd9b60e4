"""Whatever bytes arrive, they are a reply or a fault."""

import json
import math
import random
from typing import Any

import pytest
from raw_server import says

from r1reward.parsing import extract_reasoning, parse_verdict
from r1reward.servers.replies import KEPT_CHARACTERS, MAX_TOKENS, Fault, Reply, read_error, read_reply
from r1reward.types import Verdict


def read(text: Any, **fields: Any) -> Reply | Fault:
    return read_reply(json.dumps(says(text, **fields)).encode())


def test_reasoning_that_a_server_took_out_stands_in_its_tags_again() -> None:
    for name in ("reasoning_content", "reasoning"):
        reply = read("\n<answer>2</answer>", **{name: "\nB is right.\n"})
        assert isinstance(reply, Reply) and reply.reasoning == "\nB is right.\n"
        assert reply.text == "<think>\nB is right.\n</think>\n<answer>2</answer>"
        assert parse_verdict(reply.text) is Verdict.SECOND
    own = read("<think>a</think><answer>1</answer>", reasoning="of the server's model")
    assert isinstance(own, Reply) and own.text == own.content


@pytest.mark.parametrize("content", [None, "", []])
def test_an_answer_that_is_cut_in_its_reasoning_is_unparsed_and_keeps_it(content: Any) -> None:
    reply = read(content, reasoning_content="A is", finish_reason="length")
    assert isinstance(reply, Reply) and reply.cut
    assert (parse_verdict(reply.text), extract_reasoning(reply.text)) == (Verdict.UNPARSED, "A is")


def test_an_empty_message_is_an_answer_only_where_the_server_says_that_it_ended() -> None:
    assert read(None, finish_reason="length") == Reply("", None, None, cut=True)
    assert read(None, finish_reason="content_filter") == Reply("", None, None)
    for reason in ("content_filter", "tool_calls"):
        choice = {"finish_reason": reason, "message": {"role": "assistant", "tool_calls": [{}]}}
        assert read_reply(json.dumps({"choices": [choice]}).encode()) == Reply("", None, None)
    strange = {"finish_reason": "stop", "message": {"words": "<answer>1</answer>"}}
    assert isinstance(read_reply(json.dumps({"choices": [strange]}).encode()), Fault)
    fault = read(None, finish_reason=None)
    assert isinstance(fault, Fault) and fault.kind == "wrong_type" and fault.retry


@pytest.mark.parametrize("reason", ["error", "abort"])
@pytest.mark.parametrize("text", ["", "<think>a", None])
def test_an_answer_that_the_server_broke_off_is_asked_for_again(reason: str, text: str | None) -> None:
    choice = {"finish_reason": reason, "error": {"code": 502, "message": "the provider is gone"}}
    for message in ({}, {"message": {"role": "assistant", "content": text}}):
        fault = read_reply(json.dumps({"choices": [{**choice, **message}]}).encode())
        assert isinstance(fault, Fault) and fault.retry and "the provider is gone" in fault.message


@pytest.mark.parametrize(
    "content", [["<answer>", "1</answer>"], {"type": "text", "text": "<answer>1</answer>"},
                [{"text": "<answer>1</answer>"}], [{"type": None, "text": "<answer>1</answer>"}]]
)  # fmt: skip
def test_parts_are_read_however_they_are_written(content: Any) -> None:
    assert read(content) == Reply("<answer>1</answer>", None, None)


def test_a_list_of_parts_is_read_in_order() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
        {"type": "text", "text": "<answer>1"},
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "</answer>"},
    ]
    reply = read(parts)
    assert isinstance(reply, Reply)
    assert (reply.content, reply.text) == ("<answer>1</answer>", "<think>hm</think><answer>1</answer>")
    fault = read([{"type": "image_url"}])
    assert isinstance(fault, Fault) and fault.kind == "wrong_type"


@pytest.mark.parametrize(
    "value", ["1e400", "-1e400", "NaN", '"-0.5"', "true", "1" + "0" * 400, "-1" + "0" * 400, "0.5", "null"]
)
def test_what_is_no_log_probability_costs_the_log_probabilities_alone(value: str) -> None:
    body = json.dumps(says("<answer>1</answer>"))
    entries = f'{{"content": [{{"token": "1", "logprob": -0.5}}, {{"token": "x", "logprob": {value}}}]}}'
    reply = read_reply(body.replace('"finish_reason"', f'"logprobs": {entries}, "finish_reason"').encode())
    assert isinstance(reply, Reply) and reply.text == "<answer>1</answer>"
    assert (reply.tokens, reply.log_probs) == ((), ())


def test_rounding_above_zero_is_zero() -> None:
    body = says("1")
    body["choices"][0]["logprobs"] = {"content": [{"token": "1\ud800", "logprob": 1e-7}]}
    reply = read_reply(json.dumps(body).encode())
    assert isinstance(reply, Reply) and (reply.tokens, reply.log_probs) == (("1?",), (0.0,))


@pytest.mark.parametrize("count", [-1, 1.5, True, "7", MAX_TOKENS + 1, 10**4000, None])
def test_counts_of_tokens_that_cannot_be_are_not_known(count: Any) -> None:
    reply = read_reply(json.dumps({**says("1"), "usage": {"completion_tokens": count}}).encode())
    assert isinstance(reply, Reply) and reply.completion_tokens is None


@pytest.mark.parametrize(
    ("status", "body", "fatal", "about_key"),
    [
        (401, {"error": {"message": "no"}}, True, True),
        (403, {"error": {"message": "Invalid API key"}}, True, True),
        (403, {"error": {"message": "this key has no permission for the model"}}, True, True),
        (403, {"error": {"message": "country is not supported"}}, True, False),
        (403, {"error": {"message": "your input was flagged by moderation"}}, False, False),
        (402, {"error": {"message": "Insufficient Balance"}}, True, False),
        (404, {"error": {"message": "no such model"}}, True, False),
        (400, {"error": {"message": "the prompt is too long"}}, False, False),
    ],
)
def test_a_refusal_is_of_the_key_of_the_run_or_of_one_text(
    status: int, body: object, fatal: bool, about_key: bool
) -> None:
    fault = read_error(status, {}, json.dumps(body).encode(), now=0.0)
    assert (fault.retry, fault.fatal, fault.about_key) == (False, fatal, about_key)


def test_the_servers_words_are_shown_on_one_line_that_a_terminal_does_not_obey() -> None:
    fault = read_error(400, {}, json.dumps({"error": {"message": "no\n\x1b[2Jverdict 2"}}).encode(), now=0.0)
    assert fault.message == "http_400: 'no\\n\\x1b[2Jverdict 2'"
    assert read_error(500, {}, b"", now=0.0).message == "http_500"


def test_an_error_with_status_200_is_the_fault_that_it_says() -> None:
    body = json.dumps({"error": {"code": 429, "message": "slow down"}}).encode()
    fault = read_reply(body)
    assert isinstance(fault, Fault) and (fault.kind, fault.retry) == ("http_429", True)


# Of each kind of value JSON has, what has broken readers of it.
LEAVES = [
    None,
    True,
    0,
    -1,
    10**400,
    1e308,
    math.nan,
    math.inf,
    "",
    "length",
    "\ud800",
    "1\x1b[2J",
    [],
    {},
    "x" * 5000,
]
FIELDS = [
    "choices", "message", "content", "reasoning", "reasoning_content", "refusal", "finish_reason", "logprobs",
    "token", "logprob", "usage", "prompt_tokens", "completion_tokens", "error", "code", "detail", "loc",
    "msg", "param", "type", "text", "thinking", "id",
]  # fmt: skip


def random_value(rng: random.Random, depth: int) -> Any:
    kind = rng.random()
    if depth == 0 or kind < 0.25:
        return rng.choice(LEAVES)
    if kind < 0.5:
        return [random_value(rng, depth - 1) for _ in range(rng.randrange(3))]
    return {rng.choice(FIELDS): random_value(rng, depth - 1) for _ in range(rng.randrange(5))}


def spoil(value: Any, rng: random.Random) -> Any:
    """The value with about one of its parts replaced."""
    if rng.random() < 0.15:
        return random_value(rng, 3)
    if isinstance(value, dict):
        return {name: spoil(part, rng) for name, part in value.items()}
    return [spoil(part, rng) for part in value] if isinstance(value, list) else value


def random_body(rng: random.Random) -> bytes:
    entries = [{"token": "1", "logprob": -0.5}, {"token": "</answer>", "logprob": -0.1}]
    good = {"id": "a", **says("<answer>1</answer>", reasoning="r"), "usage": {"prompt_tokens": 3}}
    good["choices"][0]["logprobs"] = {"content": entries}
    error = {"error": {"message": "no", "param": "seed", "code": 429}, "detail": [{"loc": ["a"], "msg": "b"}]}
    value = rng.choice([lambda: spoil(good, rng), lambda: spoil(error, rng), lambda: random_value(rng, 5)])()
    body = json.dumps(value).encode("utf-8", "surrogatepass")
    damage = rng.random()
    if damage < 0.1:
        return body[: rng.randrange(len(body) + 1)]
    if damage < 0.2:
        place = rng.randrange(len(body) + 1)
        return body[:place] + rng.randbytes(rng.randrange(4)) + body[place:]
    return b"[" * 100_000 if damage < 0.202 else body


def check(found: Reply | Fault) -> None:
    """Everything that is read from a body can be written, counted and summed."""
    if isinstance(found, Fault):
        (found.detail + found.said + found.message).encode()
        assert len(found.message) < KEPT_CHARACTERS and found.about_key in (True, False)
        assert found.wait is None or found.wait >= 0
        return
    "".join((found.text, found.reasoning, found.name, *found.tokens)).encode()
    assert len(found.tokens) == len(found.log_probs) and all(-1e300 < value <= 0 for value in found.log_probs)
    assert all(
        count is None or 0 <= count <= MAX_TOKENS for count in (found.prompt_tokens, found.completion_tokens)
    )
    assert parse_verdict(found.text) in Verdict


@pytest.mark.parametrize("seed", range(5))
def test_no_body_raises(seed: int) -> None:
    rng, kinds = random.Random(seed), set[str]()
    for _ in range(120):
        body = random_body(rng)
        found = read_reply(body)
        kinds.add(type(found).__name__)
        check(found)
        headers = {
            "retry-after": rng.choice(["", "1e400", "nan", "-1", "x", "Fri, 99 Foo 9999 99:99:99 GMT"])
        }
        check(read_error(rng.choice([300, 400, 403, 404, 429, 500, 999]), headers, body, now=0.0))
    assert kinds == {"Reply", "Fault"}
