"""What comes back from a server: an answer with its cost, or a fault counted by its kind; never the key.

Nothing here raises: whatever bytes arrive are a `Reply` or a `Fault`.
"""

from __future__ import annotations

import base64
import html
import json
import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

MAX_BODY_BYTES = 1 << 22  # an answer of 30,000 tokens with log-probabilities has about as many
MAX_TOKENS = 10**7
KEPT_CHARACTERS = 2000
RETRIED_STATUS = (408, 409, 429)
FIRST_WAIT, MAX_WAIT, MAX_ASKED_WAIT = 1.0, 60.0, 120.0  # seconds
_CUT = ("length", "max_tokens")
# The server broke an answer off; what there is of it is none.
_BROKEN_OFF = ("error", "abort")
# Where servers put what they have to say about a request, in the order of preference.
_MESSAGES = ("error", "message", "msg", "error_msg", "detail", "errors")
_ROUNDING = 1e-3
_OF_THE_KEY = re.compile(
    r"\bkeys?\b|api[-_ ]?key|credential|authenticat|authori[sz]|\btoken\b|permission|access", re.IGNORECASE
)
_OF_THE_TEXT = re.compile(r"moderat|flagged|content|policy|safety|harmful", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer. A refusal is an answer, too. Tokens are None where the server does not say.

    `content` is the message, `reasoning` what a server with a reasoning parser took out of it; `cut` says
    that the limit of tokens ended it. `tokens` are the answer's with their `log_probs` (finite, at most
    0), where they were asked for and given. `name` is the server's for this answer.
    """

    content: str
    prompt_tokens: int | None
    completion_tokens: int | None
    cut: bool = False
    tokens: tuple[str, ...] = ()
    log_probs: tuple[float, ...] = ()
    reasoning: str = ""
    name: str = ""

    @property
    def text(self) -> str:
        """The answer as the model wrote it: reasoning that was taken out stands in its tags again."""
        if not self.reasoning or "<think>" in self.content:
            return self.content
        return f"<think>{self.reasoning}" + (f"</think>{self.content}" if self.content else "")


@dataclass(frozen=True, slots=True)
class Fault:
    """A request without an answer. `detail` is the start of what came back instead, `said` its message.

    `retry` says whether the same request may succeed later, after `wait` seconds where the server names
    them; `fatal` that no request of this run can succeed.
    """

    kind: str
    detail: str = ""
    retry: bool = True
    wait: float | None = None
    fatal: bool = False
    said: str = ""

    @property
    def message(self) -> str:
        """Kind and the server's own words, on one line and without signs that a terminal obeys."""
        words = (self.said or self.detail)[:300]
        return f"{self.kind}: {words!r}" if words else self.kind

    @property
    def about_key(self) -> bool:
        """Whether the key is refused, and not something else in the request."""
        return self.kind == "http_401" or (self.kind == "http_403" and bool(_OF_THE_KEY.search(self.said)))


def read_reply(body: bytes) -> Reply | Fault:
    """The answer in the body of a response with status 200, or what is wrong with it."""
    detail = excerpt(body)
    if len(body) > MAX_BODY_BYTES:
        return Fault("too_large", detail)
    value = _parse(body)
    if value is None:
        return Fault("not_json", detail)
    match value:
        case {"choices": [{"finish_reason": reason} as choice, *_]} if reason in _BROKEN_OFF:
            return Fault("broken_off", detail, said=_said(choice))
        case {"choices": [{"message": {**message}} as choice, *_]}:
            pass
        case {"choices": [_, *_]}:
            return Fault("wrong_type", detail)
        case {"error": {"code": int(status)}} if 400 <= status < 600:
            return read_error(status, {}, body, now=0.0)
        case {"choices": []}:
            return Fault("no_choices", detail)
        case _:
            return Fault("wrong_type", detail, said=_said(value))
    found = _read_message(message, choice.get("finish_reason"))
    if found is None:
        return Fault("wrong_type", detail)
    tokens, log_probs = _log_probs(choice)
    return Reply(
        found[0],
        _tokens(value, "prompt_tokens"),
        _tokens(value, "completion_tokens"),
        cut=choice.get("finish_reason") in _CUT,
        tokens=tokens,
        log_probs=log_probs,
        reasoning=found[1],
        name=_text(value.get("id")),
    )


def read_error(status: int, headers: Mapping[str, str], body: bytes, *, now: float) -> Fault:
    """The fault of a response with an error status; `now` is in seconds since 1970.

    A 403 that speaks of the text that was sent refuses this request; any other refuses all.
    """
    value = _parse(body)
    said = excerpt(body) if value is None else _said(value)
    out_of_credit = status == 402 or b"insufficient_quota" in body
    retry = (status in RETRIED_STATUS or status >= 500) and not out_of_credit
    of_the_text = _OF_THE_TEXT.search(said) and not _OF_THE_KEY.search(said)
    return Fault(
        f"http_{status}",
        excerpt(body),
        retry=retry,
        wait=_asked_wait(headers, now) if retry else None,
        fatal=status in (401, 404) or (status == 403 and not of_the_text) or out_of_credit,
        said=said[:KEPT_CHARACTERS],
    )


def waiting_time(fault: Fault, retries: int, rng: random.Random) -> float:
    """Seconds until the next request: doubled at each of the `retries`, and spread by chance.

    The server's own wish is a lower limit up to 120 seconds. Without the spread all threads that were
    refused together would come back together.
    """
    spread = min(FIRST_WAIT * 2.0 ** min(retries, 60), MAX_WAIT) / 2
    least = spread if fault.wait is None else min(fault.wait, MAX_ASKED_WAIT)
    return least + spread * rng.random()


def excerpt(body: bytes) -> str:
    """The start of a body as text."""
    return body[:KEPT_CHARACTERS].decode("utf-8", "replace")


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _said(value: Any, depth: int = 4) -> str:
    """The message in an error's body, and the parameters it names; never what it repeats of the request."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return "; ".join(filter(None, (_said_of(part, depth) for part in value[:20])))
    if not isinstance(value, dict) or not depth:
        return ""
    known = {str(name).lower(): part for name, part in value.items()}
    said = next(filter(None, (_said(known.get(name), depth - 1) for name in _MESSAGES)), "")
    named = _text(known.get("param"))
    return f"{said} ({named})" if said and named else said


def _said_of(fault: Any, depth: int) -> str:
    """One of several faults; of a field, where it is and what is wrong with it."""
    if isinstance(fault, dict) and isinstance(place := fault.get("loc"), list):
        return f"{'.'.join(map(_text, place))}: {_text(fault.get('msg'))}"
    return _said(fault, depth - 1) if depth else ""


def _read_message(message: Mapping[str, Any], reason: Any) -> tuple[str, str] | None:
    """Content and reasoning; None where the message holds no answer.

    An empty message of a server that says why it ended is an answer: an unparsed one. One without any
    content is, unless the model is said to have come to its end.
    """
    content, inside = _read_content(message.get("content"))
    given = (message.get(name) for name in ("reasoning_content", "reasoning"))
    reasoning = next((text for text in given if isinstance(text, str) and text), inside or "")
    if content is None and isinstance(refusal := message.get("refusal"), str):
        content = refusal
    is_empty = message.get("content") in (None, []) and ("content" in message or reason != "stop")
    if content is None and not reasoning and not (isinstance(reason, str) and is_empty):
        return None
    return _text(content), _text(reasoning)


def _read_content(content: Any) -> tuple[str | None, str | None]:
    """Text and reasoning of a message's content: a text, a part, or a list of either."""
    if isinstance(content, str):
        return content, None
    texts: dict[bool, list[str]] = {False: [], True: []}
    for part in content if isinstance(content, list) else [content]:
        match part:
            case str(text):
                texts[False].append(text)
            case {"text": str(text)} if part.get("type") in ("text", "output_text", None):
                texts[False].append(text)
            case {"type": "thinking" | "reasoning"}:
                inside = part.get("thinking") or part.get("reasoning") or part.get("text")
                texts[True].append(inside if isinstance(inside, str) else _read_content(inside)[0] or "")
            case _:
                pass
    said, thought = ("".join(texts[key]) if texts[key] else None for key in (False, True))
    return said, thought


def _text(value: Any) -> str:
    """A text that can be written: half of a surrogate pair is legal in JSON and cannot be encoded."""
    if not isinstance(value, str):
        return str(value) if isinstance(value, int | float) and abs(value) < 1e18 else ""
    return value.encode("utf-8", "replace").decode("utf-8")


def _asked_wait(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that the header Retry-After asks for, as a number or a date; None if it says nothing usable."""
    value = headers.get("retry-after", "").strip()
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - now
        except (ValueError, TypeError, OverflowError, IndexError):
            return None
    return max(seconds, 0.0) if not math.isnan(seconds) else None


def _log_probs(choice: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Tokens and their log-probabilities, or nothing where one of them is none."""
    match choice.get("logprobs"):
        case {"content": [*entries]}:
            pass
        case _:
            return (), ()
    found = [_log_prob(entry) for entry in entries]
    if None in found:
        return (), ()
    return tuple(token for token, _ in filter(None, found)), tuple(value for _, value in filter(None, found))


def _log_prob(entry: Any) -> tuple[str, float] | None:
    match entry:
        case {"token": str(token), "logprob": int() | float() as value} if not isinstance(value, bool):
            # Numbers of JSON have no end; a probability above 1 is none, but for rounding.
            return (_text(token), min(float(value), 0.0)) if -1e300 < value <= _ROUNDING else None
        case _:
            return None


def _tokens(value: Mapping[str, Any], name: str) -> int | None:
    usage = value.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    usable = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MAX_TOKENS
    return count if usable else None


# A shorter one may be an ordinary word ("EMPTY"), which answers must keep.
MIN_SECRET_CHARACTERS = 8
MASK = b"***"


class KeyMask:
    """Replaces a key in what a server sent.

    Found as it is, with any of its signs escaped as in JSON, HTML or an address (also twice), and in
    base64, where it may stand behind a user's name as in the header of basic authentication.
    """

    def __init__(self, key: str) -> None:
        self._is_secret = len(key) >= MIN_SECRET_CHARACTERS
        texts = [key, *_in_base64(key)]
        self._forms = re.compile(b"|".join(map(_any_form, texts)))
        # Every form of a text holds its longest run of letters and digits, which is found much sooner.
        self._signs = [max(re.findall(r"[A-Za-z0-9]*", text), key=len).encode() for text in texts]

    def in_error(self, body: bytes) -> bytes:
        """What a server says about a request, without the key."""
        found = any(run in body for run in self._signs)
        return self._forms.sub(MASK, body) if found else body

    def in_answer(self, body: bytes) -> bytes:
        """A model's answer, without the key where that cannot be a word of the answer."""
        return self.in_error(body) if self._is_secret else body


def _any_form(text: str) -> bytes:
    return b"".join(_any_sign(sign) for sign in text)


def _any_sign(sign: str) -> bytes:
    """A pattern of a sign and of its escaped forms; letters and digits are escaped by nobody.

    All repetitions are bounded, so that no body takes more than linear time.
    """
    if sign.isalnum():
        return sign.encode()
    code = ord(sign)
    forms = [
        rf"\\{{0,4}}{re.escape(sign)}",
        rf"\\{{1,4}}u(?i:{code:04x})",
        rf"%(?:25){{0,2}}(?i:{code:02x})",
        rf"&(?:amp;)?#0{{0,4}}{code};",
        rf"&(?:amp;)?#[xX]0{{0,4}}(?i:{code:x});",
        re.escape(html.escape(sign)),
    ]
    return f"(?:{'|'.join(forms)})".encode()


def _in_base64(key: str) -> list[str]:
    """What stays the same of the key in base64 whatever stands before and behind it, for both alphabets."""
    found: list[str] = []
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + key.encode()).decode()
        core = whole[-(-8 * before // 6) : 8 * (before + len(key)) // 6]
        if len(core) >= MIN_SECRET_CHARACTERS:
            found += [core, core.replace("+", "-").replace("/", "_")]
    return list(dict.fromkeys(found))
