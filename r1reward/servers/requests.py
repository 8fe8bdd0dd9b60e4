"""What a server is asked: pictures and text as a turn of a chat, and the parameters of a request.

Servers differ in what they accept: `logprobs`, `seed`, a temperature other than 1, `max_tokens` where newer
models want `max_completion_tokens`. A request that is refused for one of them is asked again without it.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

from r1reward.engines import EngineError, PictureError
from r1reward.pictures import Budget, PictureFault, common_form, data_uri, short_name
from r1reward.servers.replies import Fault
from r1reward.settings import ServerParameter
from r1reward.texts import is_unicode, plain_text


def user_turn(
    text: str, pictures: Sequence[str | Path], *, origin: str = "", budget: Budget | None = None
) -> list[dict[str, Any]]:
    """One user message: the pictures in order, then the text with control tokens broken up.

    A server reads `<|im_end|>` in a text as the token, with which a response could end the question and
    speak for the judge. Raises PictureError, see `data_url`, and EngineError for a text that is not Unicode.
    """
    if not is_unicode(text):
        raise EngineError(f"the prompt of {origin or 'a request'} is not valid Unicode")
    urls = [data_url(path, origin=origin, budget=budget) for path in pictures]
    images = [{"type": "image_url", "image_url": {"url": url}} for url in urls]
    return [{"role": "user", "content": [*images, {"type": "text", "text": plain_text(text)}]}]


def data_url(path: str | Path, *, origin: str = "", budget: Budget | None = None) -> str:
    """A picture as a data URL that shows what an engine here sees, see `common_form`.

    With a budget a server spends as many visual tokens on it as an engine here, however large its own is.
    Raises PictureError, which names file and origin, if it is missing or corrupt.
    """
    try:
        data, kind = common_form(path, budget=budget)
    except PictureFault as fault:
        raise PictureError(f"picture {short_name(path)} ({origin}) {fault}") from fault
    return data_uri(data, kind)


_LOG = logging.getLogger(__name__)

# Without them vLLM and SGLang sample by the checkpoint's generation_config.json, whose repetition_penalty
# (1.05 for Qwen2.5-VL) makes greedy answers other than those of an engine in this process.
NEUTRAL: Mapping[str, float] = {"top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
RENAMED: Mapping[str, str] = {"max_tokens": "max_completion_tokens"}
# Left out step by step where a server says that it refuses a parameter, but not which.
_STEPS: tuple[tuple[ServerParameter, ...], ...] = (
    ("top_p", "top_k", "min_p", "repetition_penalty"),
    ("logprobs",),
    ("seed",),
)
_LAST = {"temperature", "max_tokens"}
_NAMES: Mapping[str, str] = {
    "logprobs": r"(?:top_)?log_?probs?|log[- ]?probabilit(?:y|ies)",
    **{name: name for name in ("seed", "temperature", "max_tokens", *NEUTRAL)},
}
_REFUSING = ("http_400", "http_403", "http_404", "http_422", "http_501")
_WORDS = re.compile(
    r"not (?:yet )?(?:support|permit|implement|recogni|allow)|unsupported|unknown|unrecogni[sz]ed|unexpected|"
    r"\bextra\b|\b(?:parameter|argument|field|key)s?\b.*(?:invalid|request|body)|invalid (?:param|arg|field)",
    re.IGNORECASE,
)


def chat_body(
    model: str,
    messages: Sequence[Mapping[str, Any]],
    *,
    temperature: float,
    max_tokens: int,
    seed: int | None = None,
    log_probs: bool = False,
) -> dict[str, Any]:
    """A chat completion that samples by its own settings alone, not by those stored with a checkpoint."""
    body = {"model": model, "messages": [*messages], "temperature": temperature, "max_tokens": max_tokens}
    body |= NEUTRAL
    if seed is not None:
        body["seed"] = seed
    return {**body, "logprobs": True} if log_probs else body


class AcceptedParameters:
    """What a server takes, as far as a run has found out; safe for threads.

    Args:
        refused: what it is known not to take.
        server: its address, for the message.
    """

    def __init__(self, refused: Collection[str], *, server: str) -> None:
        self._refused, self._server = set(refused), server
        self._answered = False
        self._lock = Lock()

    def left_out(self) -> list[str]:
        """Names of what is not sent, sorted."""
        with self._lock:
            return sorted(self._refused)

    def fit(self, body: Mapping[str, Any], without: Collection[str] = ()) -> dict[str, Any]:
        """A request without what the server refuses, and without what else is to be tried.

        A limit of tokens is always sent, by its other name where it is refused.
        """
        refused = {*self.left_out(), *without}
        kept = {name: value for name, value in body.items() if name not in refused}
        return kept | {RENAMED[name]: body[name] for name in RENAMED if name in refused and name in body}

    def blamed(self, fault: Fault, sent: Mapping[str, Any]) -> set[str]:
        """What to leave out after a fault: the parameters that it names, else the next step of guesses.

        Nothing where the fault is about something else. It guesses only until the first answer.
        """
        refuses = bool(_WORDS.search(fault.said))
        if fault.kind not in _REFUSING and not (fault.kind == "http_500" and refuses):
            return set()
        found = {
            name
            for name, pattern in _NAMES.items()
            if name in sent and re.search(rf"(?<!\w)(?:{pattern})(?!\w)", fault.said, re.IGNORECASE)
        }
        # Without these an answer is another one; a message may name them beside the one that it refuses.
        if found or self._answered or not refuses:
            return found - _LAST if found - _LAST else found
        return next((step for names in _STEPS if (step := {name for name in names if name in sent})), set())

    def learn(self, without: Collection[str], fault: Fault | None) -> None:
        """Note that a request was answered without these; the first time that is said, as is the fault."""
        self._answered = True
        with self._lock:
            new = sorted({*without} - self._refused)
            self._refused |= {*without}
        if new and fault:
            renamed = [f"{name} is sent as {RENAMED[name]}" for name in new if name in RENAMED]
            dropped = [f"{name} is not sent" for name in new if name not in RENAMED]
            what = ", ".join([*renamed, *dropped])
            _LOG.warning("%s from now on at %s, which said %s", what, self._server, fault.message)
