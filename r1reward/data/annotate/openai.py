"""An annotator behind any OpenAI-compatible server, asked as in the paper's §3.2.

At temperature 0 a second attempt repeats the first one's request, and mostly its answer: what differs is
the server's rounding in batches of another size. The paper says no more, so this is the default;
`retry_temperature` or `seed` make attempts differ on purpose.
"""

from __future__ import annotations

import base64
import io
import os
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock
from typing import Any

from PIL import Image

from r1reward.config import AnnotatorSettings
from r1reward.data.annotate.base import AnnotatorError
from r1reward.data.annotate.replies import (
    MAX_BODY_BYTES,
    Fault,
    Reply,
    read_error,
    read_reply,
    waiting_time,
)
from r1reward.data.annotate.request_log import RequestLog
from r1reward.engines.base import PictureError
from r1reward.prompts import judge_prompt, prompt_hash
from r1reward.types import PreferencePair

MAX_FAILED_IN_A_ROW = 10
SENT_AS_THEY_ARE = ("PNG", "JPEG", "WEBP", "GIF")


class OpenAIAnnotator:
    """Asks a server through the `openai` client (extra `api`); safe for threads.

    Each request is logged in `log`. A request without an answer is repeated up to `max_retries` times;
    after that, or where the server refuses this one request (400 and its kin), the attempt counts as failed
    and its answer is empty. An AnnotatorError ends the run where no request can succeed (refused key, unknown
    model, no credit) or ten attempts in a row failed. The key is read from the environment and
    passed to the client; it is kept out of everything that is written.

    `sleep` takes seconds, `clock` gives seconds since 1970, `seed` is for the spread of waiting times.
    """

    def __init__(
        self,
        settings: AnnotatorSettings,
        *,
        log: Path | None = None,
        seed: int = 0,
        sleep: Callable[[float], Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.concurrency = settings.concurrency
        self.log = RequestLog(log)
        self._key = read_key(settings)
        self._library = _import_openai()
        self._transport_errors = _transport_errors(self._library)
        # The client's own retries are off: one rule counts and logs every request.
        self._client = self._library.OpenAI(
            api_key=self._key, base_url=settings.base_url, timeout=settings.timeout_seconds, max_retries=0
        )
        self._stopped = Event()
        self._sleep = sleep or self._stopped.wait
        self._clock, self._rng = clock, random.Random(seed)
        self._failed_in_a_row = 0
        self._lock = Lock()

    @property
    def name(self) -> str:
        """The model's name: who the answers are by."""
        return self.settings.model

    @property
    def fingerprint(self) -> str:
        """Server, prompt and what is sent with it."""
        sent = self.settings.model_dump(
            include={"model", "base_url", "temperature", "retry_temperature", "seed", "max_tokens"}
        )
        return f"openai {sorted(sent.items())} prompt={prompt_hash('paper')[:16]}"

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        """The server's answer, or nothing if the attempt failed.

        Raises AnnotatorError (see the class) and PictureError for a picture that cannot be read.
        """
        body = self._body(pair, attempt)
        for retries in range(self.settings.max_retries + 1):
            if self._stopped.is_set():
                raise AnnotatorError("stopped")
            outcome = self._ask(body)
            last = isinstance(outcome, Fault) and (not outcome.retry or retries == self.settings.max_retries)
            self.log.add(outcome, pair_id=pair.pair_id, attempt=attempt, retries=retries, last=last)
            if isinstance(outcome, Reply):
                with self._lock:
                    self._failed_in_a_row = 0
                return outcome.text
            if outcome.fatal:
                raise AnnotatorError(self._advice(outcome))
            if last:
                self._count_failure(outcome)
                break
            self._sleep(waiting_time(outcome, retries, self._rng))
        return ""

    def status(self) -> str:
        """Cost and faults so far, for the line of progress."""
        record = self.record()
        tokens = record["prompt_tokens"] + record["completion_tokens"]
        cost = f"${record['dollars']:.2f}" if record["dollars"] else f"{tokens} tokens"
        return f"{cost}, {sum(record['faults'].values())} faults"

    def record(self) -> dict[str, Any]:
        """Who was asked, requests, faults by kind, tokens and dollars, earlier processes included."""
        prices = self.settings.model_dump(include={"price_input", "price_output"})
        asked = {"annotator": self.name, "base_url": self.settings.base_url}
        return {**asked, **self.log.record(**prices)}

    def stop(self) -> None:
        """Let no further request begin, and end all waiting."""
        self._stopped.set()

    def _body(self, pair: PreferencePair, attempt: int) -> dict[str, Any]:
        settings = self.settings
        paths = [*pair.images, *pair.frames]
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": data_url(path, origin=pair.origin or pair.pair_id)}}
            for path in paths
        ]
        parts.append({"type": "text", "text": judge_prompt(pair, name="paper")})
        raised = settings.retry_temperature if attempt else None
        body = {
            "model": settings.model,
            "messages": [{"role": "user", "content": parts}],
            "temperature": settings.temperature if raised is None else raised,
            "max_tokens": settings.max_tokens,
        }
        return body if settings.seed is None else {**body, "seed": settings.seed + attempt}

    def _ask(self, body: dict[str, Any]) -> Reply | Fault:
        """One request. The body is read piece by piece, so that its size and time are bounded."""
        create = self._client.chat.completions.with_streaming_response.create
        started = self._clock()
        received = b""
        try:
            with create(**body) as response:
                for piece in response.iter_bytes():
                    received += piece
                    if len(received) > MAX_BODY_BYTES:
                        break
                    if self._clock() - started > self.settings.timeout_seconds:
                        return Fault("timeout", "the answer came too slowly")
        except self._library.APIStatusError as error:
            content = self._without_key(error.response.content)
            return read_error(error.status_code, error.response.headers, content, now=self._clock())
        except self._transport_errors as error:
            kind = "timeout" if "Timeout" in type(error).__name__ else "connection"
            return Fault(kind, type(error).__name__)
        return read_reply(self._without_key(received))

    def _without_key(self, body: bytes) -> bytes:
        """A server may repeat the key in what it says about it."""
        return body.replace(self._key.encode(), b"***")

    def _count_failure(self, fault: Fault) -> None:
        with self._lock:
            self._failed_in_a_row += 1
            in_a_row = self._failed_in_a_row
        if in_a_row >= MAX_FAILED_IN_A_ROW:
            raise AnnotatorError(
                f"{in_a_row} attempts in a row failed at {self.settings.base_url}, the last with "
                f"{fault.kind}: {fault.detail[:300]!r}; finished pairs are kept, run again to go on"
            )

    def _advice(self, fault: Fault) -> str:
        settings = self.settings
        where = f"{settings.base_url} ({fault.kind.replace('_', ' ').upper()})"
        if fault.kind == "http_404":
            return f"there is no model {settings.model!r} at {where}: see data.openai.model and .base_url"
        if fault.kind in ("http_401", "http_403"):
            variable = settings.key_variable or "named by data.openai.key_variable"
            return (
                f"{where} refuses the key: set the variable {variable} to one that may use {settings.model}"
            )
        return f"the account at {where} has no credit left; finished pairs are kept, run again to go on"


def read_key(settings: AnnotatorSettings) -> str:
    """The key from the environment. Raises AnnotatorError if it is missing or cannot be one.

    Servers without keys need an empty `key_variable`; the client insists on some key all the same.
    """
    if not settings.key_variable:
        return "no-key"
    key = os.environ.get(settings.key_variable, "").strip()
    if not key:
        raise AnnotatorError(
            f"the environment variable {settings.key_variable} is not set: it holds the key for "
            f'{settings.base_url}; for a server without keys set data.openai.key_variable = ""'
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise AnnotatorError(f"the environment variable {settings.key_variable} holds no usable key")
    return key


def data_url(path: str | Path, *, origin: str = "") -> str:
    """A picture as a data URL: the file itself if every server reads its format, else as PNG.

    Raises PictureError, which names file and origin, if it is missing or corrupt.
    """
    try:
        data = Path(path).read_bytes()
        with Image.open(io.BytesIO(data)) as picture:
            picture.load()
            kind = picture.format
            if kind not in SENT_AS_THEY_ARE:
                buffer = io.BytesIO()
                picture.convert("RGB").save(buffer, kind := "PNG")
                data = buffer.getvalue()
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise PictureError(f"picture {path} ({origin}) cannot be sent: {error}") from error
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data).decode()}"


def _import_openai() -> Any:
    try:
        import openai  # noqa: PLC0415
    except ImportError as error:
        raise AnnotatorError('the extra is missing: pip install "r1reward[api]"') from error
    return openai


def _transport_errors(library: Any) -> tuple[type[Exception], ...]:
    """What a broken or slow connection raises. While a body is read it comes from below the client, from
    httpx or, since openai 3, httpx2."""
    below = [sys.modules[name].RequestError for name in ("httpx", "httpx2") if name in sys.modules]
    return (library.APIConnectionError, OSError, *below)
