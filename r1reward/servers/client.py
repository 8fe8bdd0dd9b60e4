"""One OpenAI-compatible server: one rule of repetition, every request counted and logged, no key shown."""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

from r1reward.servers.replies import MAX_BODY_BYTES, Fault, Reply, read_error, read_reply, waiting_time
from r1reward.servers.request_log import RequestLog
from r1reward.settings import ConnectionSettings

STOPPED = Fault("stopped", "no further request was made", retry=False)


class ServerError(RuntimeError):
    """A server that cannot be asked; the message says what to do."""


class ServerClient:
    """Asks a server through the `openai` client (extra `api`); safe for threads.

    Args:
        settings: the server, and how long and how often it is asked.
        section: where these settings stand in a profile, for messages (`data.openai`).
        log: gets one JSON line for each request; lines of earlier processes are counted, too.
        seed: for the spread of waiting times.
        sleep: waits for so many seconds; `stop` ends the waiting unless this is given.
        clock: seconds since 1970.

    Raises ServerError without the extra, or if the key is missing. The key is read from the environment
    and passed to the client; it is kept out of everything that is written.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        section: str,
        log: Path | None = None,
        seed: int = 0,
        sleep: Callable[[float], Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.log = RequestLog(log)
        self._section = section
        self._key = read_key(settings, section)
        self._library = _import_openai()
        self._transport_errors = _transport_errors(self._library)
        # The client's own retries are off: one rule counts and logs every request.
        self._client = self._library.OpenAI(
            api_key=self._key, base_url=settings.base_url, timeout=settings.timeout_seconds, max_retries=0
        )
        self._stopped = Event()
        self._sleep = sleep or self._stopped.wait
        self._clock, self._rng = clock, random.Random(seed)

    def ask(
        self, body: Mapping[str, Any], *, about: Mapping[str, Any], max_retries: int | None = None
    ) -> Reply | Fault:
        """The answer to one chat completion, or the last fault once all repetitions have failed.

        A request that cannot succeed is not repeated. `about` names it in the log; `max_retries` is
        that of the settings unless given. After `stop` it returns STOPPED.
        """
        most = self.settings.max_retries if max_retries is None else max_retries
        for retries in range(most + 1):
            if self._stopped.is_set():
                break
            outcome = self._ask_once(body)
            last = isinstance(outcome, Fault) and (not outcome.retry or retries == most)
            self.log.add(outcome, about=about, retries=retries, last=last)
            if isinstance(outcome, Reply) or last:
                return outcome
            self._sleep(waiting_time(outcome, retries, self._rng))
        return STOPPED

    def stop(self) -> None:
        """Let no further request begin, and end all waiting."""
        self._stopped.set()

    def resume(self) -> None:
        """Allow requests again after `stop`."""
        self._stopped.clear()

    def record(self) -> dict[str, Any]:
        """Address, requests, faults by kind, tokens and dollars, earlier processes included."""
        prices = self.settings.model_dump(include={"price_input", "price_output"})
        return {"base_url": self.settings.base_url, **self.log.record(**prices)}

    def advice(self, fault: Fault) -> str:
        """What to do about a fault after which no request can succeed (`Fault.fatal`)."""
        settings, section = self.settings, self._section
        where = f"{settings.base_url} ({fault.kind.replace('_', ' ').upper()})"
        if fault.kind == "http_404":
            return f"there is no model {settings.model!r} at {where}: see {section}.model and .base_url"
        if fault.kind in ("http_401", "http_403"):
            variable = settings.key_variable or f"named by {section}.key_variable"
            return (
                f"{where} refuses the key: set the variable {variable} to one that may use {settings.model}"
            )
        return f"the account at {where} has no credit left"

    def _ask_once(self, body: Mapping[str, Any]) -> Reply | Fault:
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


def read_key(settings: ConnectionSettings, section: str) -> str:
    """The key from the environment. Raises ServerError if it is missing or cannot be one.

    Servers without keys need an empty `key_variable`; the client insists on some key all the same.
    """
    if not settings.key_variable:
        return "no-key"
    key = os.environ.get(settings.key_variable, "").strip()
    if not key:
        raise ServerError(
            f"the environment variable {settings.key_variable} is not set: it holds the key for "
            f'{settings.base_url}; for a server without keys set {section}.key_variable = ""'
        )
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ServerError(f"the environment variable {settings.key_variable} holds no usable key")
    return key


def _import_openai() -> Any:
    try:
        import openai  # noqa: PLC0415
    except ImportError as error:
        raise ServerError('the extra is missing: pip install -e ".[api]" in the checkout') from error
    return openai


def _transport_errors(library: Any) -> tuple[type[Exception], ...]:
    """What a broken or slow connection raises. While a body is read it comes from below the client, from
    httpx or, since openai 3, httpx2."""
    below = [sys.modules[name].RequestError for name in ("httpx", "httpx2") if name in sys.modules]
    return (library.APIConnectionError, OSError, *below)
