"""What comes back from a server: an answer with its cost, or a fault that is counted by its kind.

Nothing here raises: whatever bytes arrive are a `Reply` or a `Fault`.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

MAX_BODY_BYTES = 1 << 22  # an answer of 30,000 tokens with log-probabilities has about as many
KEPT_CHARACTERS = 2000
RETRIED_STATUS = (408, 409, 429)
FATAL_STATUS = (401, 403, 404)
FIRST_WAIT, MAX_WAIT, MAX_ASKED_WAIT = 1.0, 60.0, 120.0  # seconds


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. A refusal is an answer, too. Tokens are None where the server does not say.

    `tokens` are the answer's with their `log_probs`, where they were asked for and given.
    """

    text: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cut: bool = False
    tokens: tuple[str, ...] = ()
    log_probs: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Fault:
    """A request without an answer. `detail` is the start of what came back instead.

    `retry` says whether the same request may succeed later, after `wait` seconds where the server names
    them; `fatal` that no request of this run can succeed.
    """

    kind: str
    detail: str = ""
    retry: bool = True
    wait: float | None = None
    fatal: bool = False


def read_reply(body: bytes) -> Reply | Fault:
    """The answer in the body of a response with status 200, or what is wrong with it."""
    detail = excerpt(body)
    if len(body) > MAX_BODY_BYTES:
        return Fault("too_large", detail)
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return Fault("not_json", detail)
    match value:
        case {"choices": [{"message": {"content": str(text)}}, *_]}:
            pass
        case {"choices": [{"message": {"refusal": str(text)}}, *_]}:
            pass
        case {"choices": []}:
            return Fault("no_choices", detail)
        case _:
            return Fault("wrong_type", detail)
    # Half of a surrogate pair is legal in JSON and cannot be written to a file.
    text = text.encode("utf-8", "replace").decode("utf-8")
    choice = value["choices"][0]
    tokens, log_probs = _log_probs(choice)
    return Reply(
        text,
        _tokens(value, "prompt_tokens"),
        _tokens(value, "completion_tokens"),
        cut=choice.get("finish_reason") == "length",
        tokens=tokens,
        log_probs=log_probs,
    )


def read_error(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Fault:
    """The fault of a response with an error status; `now` is in seconds since 1970."""
    out_of_credit = b"insufficient_quota" in body
    retry = (status in RETRIED_STATUS or status >= 500) and not out_of_credit
    return Fault(
        f"http_{status}",
        excerpt(body),
        retry=retry,
        wait=_asked_wait(headers, now) if retry else None,
        fatal=status in FATAL_STATUS or out_of_credit,
    )


def waiting_time(fault: Fault, retries: int, rng: random.Random) -> float:
    """Seconds until the next request: doubled at each of the `retries`, and spread by chance.

    The server's own wish is a lower limit up to 120 seconds. Without the spread all threads that were
    refused together would come back together.
    """
    spread = min(FIRST_WAIT * 2.0**retries, MAX_WAIT) / 2
    least = spread if fault.wait is None else min(fault.wait, MAX_ASKED_WAIT)
    return least + spread * rng.random()


def excerpt(body: bytes) -> str:
    """The start of a body as text."""
    return body[:KEPT_CHARACTERS].decode("utf-8", "replace")


def _asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the header Retry-After asks for, as a number or a date; None if it says nothing usable."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, TypeError, OverflowError):
            return None
    return max(seconds, 0.0) if not math.isnan(seconds) else None


def _log_probs(choice: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    match choice.get("logprobs"):
        case {"content": [*entries]}:
            pass
        case _:
            return (), ()
    found: list[tuple[str, float]] = []
    for entry in entries:
        match entry:
            case {"token": str(token), "logprob": int() | float() as log_prob}:
                found.append((token, float(log_prob)))
            case _:
                return (), ()
    return tuple(token for token, _ in found), tuple(value for _, value in found)


def _tokens(value: dict[str, Any], name: str) -> int | None:
    usage = value.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and count >= 0 else None
