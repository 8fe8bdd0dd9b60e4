"""One OpenAI-compatible server: one rule of repetition, every request counted and logged, no key shown."""

from __future__ import annotations

import os
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import count, islice
from pathlib import Path
from threading import Event, Lock
from typing import Any, TypeVar
from uuid import uuid4

from r1reward.files import append_jsonl, read_jsonl
from r1reward.servers.replies import (
    MAX_BODY_BYTES,
    Fault,
    KeyMask,
    Reply,
    read_error,
    read_reply,
    waiting_time,
)
from r1reward.servers.requests import AcceptedParameters
from r1reward.settings import ConnectionSettings

ANSWERED = "answered"
STOPPED = Fault("stopped", "no further request was made", retry=False)
NO_KEY = "no-key"
_NAME_HEADER = "x-request-id"
T = TypeVar("T")
R = TypeVar("R")


class RequestLog:
    """Counts requests by outcome. With a path each becomes one JSON line at once.

    Lines of earlier processes are counted, too. A power cut may lose the last counts, which is no reason
    to wait for the disk at every request; answers are kept elsewhere. Safe for threads.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.outcomes: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._lock = Lock()
        if path and path.exists():
            for row in read_jsonl(path, drop_partial=True):
                self._count(row)

    def add(self, outcome: Reply | Fault, *, about: Mapping[str, Any], retries: int, last: bool) -> None:
        """Count one request. `about` names it; `last` marks a fault after which it is given up."""
        row: dict[str, Any] = {**about, "retries": retries}
        if isinstance(outcome, Reply):
            tokens = {"prompt_tokens": outcome.prompt_tokens, "completion_tokens": outcome.completion_tokens}
            row |= {"outcome": ANSWERED, **tokens}
        else:
            row |= {"outcome": outcome.kind, "given_up": last, "detail": outcome.detail}
        with self._lock:
            if self.path:
                append_jsonl(self.path, row, durable=False)
            self._count(row)

    def record(self, *, price_input: float = 0.0, price_output: float = 0.0) -> dict[str, Any]:
        """Requests, faults by kind, tokens and their cost; prices are US dollars for a million tokens."""
        with self._lock:
            outcomes, tokens = Counter(self.outcomes), Counter(self.tokens)
        faults = {kind: count for kind, count in sorted(outcomes.items()) if kind != ANSWERED}
        names = ("prompt_tokens", "completion_tokens", "answers_without_tokens", "failed_attempts")
        cost = tokens["prompt_tokens"] * price_input + tokens["completion_tokens"] * price_output
        return {
            "requests": outcomes.total(),
            "answers": outcomes[ANSWERED],
            "faults": faults,
            **{name: tokens[name] for name in names},
            "dollars": round(cost / 1e6, 6),
        }

    def _count(self, row: dict[str, Any]) -> None:
        self.outcomes[row["outcome"]] += 1
        self.tokens["failed_attempts"] += row.get("given_up", False)
        if row["outcome"] == ANSWERED:
            counts = {name: row[name] for name in ("prompt_tokens", "completion_tokens")}
            self.tokens["answers_without_tokens"] += None in counts.values()
            self.tokens.update({name: count or 0 for name, count in counts.items()})


class ServerError(RuntimeError):
    """A server that cannot be asked; the message says what to do."""


def side_by_side(
    ask: Callable[[T], R], questions: Iterable[T], *, threads: int, stop: Callable[[], None]
) -> Iterator[tuple[T, R]]:
    """What `ask` makes of each question, as it is finished; a question is taken when a thread is free for it.

    After an error, `stop` is called and none is begun; what still finishes is yielded before it is raised.
    """
    queue = iter(questions)
    running: dict[Future[R], T] = {}
    errors: list[BaseException] = []
    with ThreadPoolExecutor(threads) as pool:
        try:
            while True:
                for question in islice(queue, 0 if errors else threads - len(running)):
                    running[pool.submit(ask, question)] = question
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    question = running.pop(future)
                    if error := future.exception():
                        errors.append(error)
                        stop()
                    else:
                        yield question, future.result()
        except BaseException:
            # Ctrl-C, or a full disk where an answer is kept: no thread may go on asking.
            stop()
            raise
    if errors:
        raise errors[0]


class ServerClient:
    """Asks a server through the `openai` client (extra `api`); safe for threads.

    The client's own repetitions are off: they are neither counted nor logged, they do not end with `stop`,
    and a whole answer that cannot be read is no fault to them. A request that is refused for one of its
    parameters is asked again without it (`AcceptedParameters`). Each has a connection of its own, so
    that no late or second answer is ever taken for that of the next one.

    Args:
        settings: the server, and how long and how often it is asked.
        section: where these settings stand in a profile, for messages (`data.openai`).
        log: gets one JSON line for each request; lines of earlier processes are counted, too.
        sleep: waits for so many seconds; `stop` ends the waiting unless this is given.

    Raises ServerError without the extra, or if the key is missing. The key is read from the environment
    and passed to the client; it is kept out of everything that is written.
    """

    def __init__(
        self,
        settings: ConnectionSettings,
        *,
        section: str,
        log: Path | None = None,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        self.settings = settings
        self.log = RequestLog(log)
        self._section = section
        key = read_key(settings, section)
        self._mask = KeyMask(key) if key != NO_KEY else None
        self._library = _import_openai()
        self._transport_errors = _transport_errors(self._library)
        self._client = self._library.OpenAI(
            api_key=key,
            base_url=settings.base_url,
            timeout=settings.timeout_seconds,
            max_retries=0,
            default_headers={"connection": "close"},
            http_client=self._connections(),
        )
        self._parameters = AcceptedParameters(settings.refused, server=settings.base_url)
        self._prefix, self._numbers = f"r1reward-{uuid4().hex[:12]}", count()
        self._stopped = Event()
        self._sleep = sleep or self._stopped.wait
        self._rng = random.Random()

    def ask(
        self, body: Mapping[str, Any], *, about: Mapping[str, Any], max_retries: int | None = None
    ) -> Reply | Fault:
        """The answer to one chat completion, or the last fault once all repetitions have failed.

        A request that cannot succeed is not repeated. `about` names it in the log; `max_retries` is
        that of the settings unless given. After `stop` it returns STOPPED.
        """
        most = self.settings.max_retries if max_retries is None else max_retries
        retries, without, refusal = 0, set[str](), None
        while not self._stopped.is_set():
            sent = self._parameters.fit(body, without)
            outcome = self._ask_once(sent)
            blamed = self._parameters.blamed(outcome, sent) if isinstance(outcome, Fault) else set()
            last = isinstance(outcome, Fault) and not blamed and (not outcome.retry or retries == most)
            self.log.add(outcome, about=about, retries=retries, last=last)
            if isinstance(outcome, Reply):
                self._parameters.learn(without, refusal)
                return outcome
            if last:
                return outcome
            if blamed:
                without, refusal = without | blamed, outcome
                continue
            self._sleep(waiting_time(outcome, retries, self._rng))
            retries += 1
        return STOPPED

    def stop(self) -> None:
        """Let no further request begin, and end all waiting."""
        self._stopped.set()

    def resume(self) -> None:
        """Allow requests again after `stop`."""
        self._stopped.clear()

    def record(self) -> dict[str, Any]:
        """Address, requests, faults by kind, tokens and dollars, earlier processes included.

        `left_out` names what is not sent because the server does not take it.
        """
        prices = self.settings.model_dump(include={"price_input", "price_output"})
        left_out = {"left_out": self._parameters.left_out()}
        return {"base_url": self.settings.base_url, **left_out, **self.log.record(**prices)}

    def advice(self, fault: Fault) -> str:
        """What to do about a fault after which no request can succeed (`Fault.fatal`)."""
        settings, section = self.settings, self._section
        where = f"{settings.base_url} ({fault.kind.replace('_', ' ').upper()})"
        said = f"; it says {fault.said[:300]!r}" if fault.said else ""
        if fault.kind == "http_404":
            return f"there is no model {settings.model!r} at {where}: see {section}.model and .base_url{said}"
        if fault.about_key:
            variable = settings.key_variable or f"named by {section}.key_variable"
            may = f"set the variable {variable} to one that may use {settings.model}"
            return f"{where} refuses the key: {may}{said}"
        if fault.kind == "http_403":
            return f"{where} does not allow this{said}"
        return f"the account at {where} has no credit left{said}"

    def _connections(self) -> Any:
        """The client of httpx. What the environment says of proxies and certificates may be of no use."""
        try:
            return self._library.DefaultHttpxClient(event_hooks={"response": [self._take_error]})
        except (ImportError, OSError, ValueError) as error:
            raise ServerError(
                "no connection is possible with the proxy (ALL_PROXY, HTTP_PROXY, HTTPS_PROXY) or the "
                f"certificates (SSL_CERT_FILE, SSL_CERT_DIR) of the environment: {_cause_of(error)}"
                + (f": {error}" if isinstance(error, ImportError) else "")
            ) from error

    def _ask_once(self, body: Mapping[str, Any]) -> Reply | Fault:
        """One request. The body is read piece by piece, so that its size and time are bounded."""
        create = self._client.chat.completions.with_streaming_response.create
        name = f"{self._prefix}-{next(self._numbers)}"
        # What the client does not know by name, other servers may.
        rest = {key: value for key, value in body.items() if key not in ("model", "messages")}
        asked = {"model": body["model"], "messages": body["messages"], "extra_body": rest}
        try:
            with create(**asked, extra_headers={_NAME_HEADER: name}) as response:
                received = self._receive(response)
                answered = response.headers.get(_NAME_HEADER, "")
        except self._library.OpenAIError as error:
            # Version 2 wraps what a hook raises.
            for cause in (error, error.__cause__):
                if fault := getattr(cause, "fault", None):
                    return fault
            return _transport_fault(error)
        except self._transport_errors as error:
            return _transport_fault(error)
        if isinstance(received, Fault):
            return received
        reply = read_reply(self._mask.in_answer(received) if self._mask else received)
        if isinstance(reply, Reply) and self._is_anothers(name, answered, reply.name):
            return Fault("stray_answer", "the answer to another request")
        return reply

    def _receive(self, response: Any) -> bytes | Fault:
        started, received = time.time(), bytearray()
        for piece in response.iter_bytes():
            received += piece
            if len(received) > MAX_BODY_BYTES:
                break
            if time.time() - started > self.settings.timeout_seconds:
                return Fault("timeout", "the answer came too slowly")
        return bytes(received)

    def _take_error(self, response: Any) -> None:
        """Read a response with an error status within the same bounds; the client itself has none there."""
        if response.is_success or response.has_redirect_location:
            return
        received = self._receive(response)
        if isinstance(received, bytes):
            body = self._mask.in_error(received) if self._mask else received
            received = read_error(response.status_code, response.headers, body, now=time.time())
        error = self._library.OpenAIError(received.kind)
        error.fault = received
        raise error

    def _is_anothers(self, name: str, *given: str) -> bool:
        """Whether a server that repeats the names of requests names another one of ours."""
        found = {part for text in given for part in re.findall(rf"{self._prefix}-\d+", text)}
        return bool(found) and name not in found


def read_key(settings: ConnectionSettings, section: str) -> str:
    """The key from the environment. Raises ServerError if it is missing or cannot be one.

    Servers without keys need an empty `key_variable`; the client insists on some key all the same.
    """
    if not settings.key_variable:
        return NO_KEY
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
    below = [sys.modules[name] for name in ("httpx", "httpx2") if name in sys.modules]
    kinds = [
        kind for module in below for kind in (module.RequestError, module.InvalidURL, module.StreamError)
    ]
    return (library.APIConnectionError, OSError, *kinds)


def _transport_fault(error: Exception) -> Fault:
    kind = "timeout" if "Timeout" in type(error).__name__ else "connection"
    return Fault(kind, _cause_of(error))


def _cause_of(error: BaseException) -> str:
    """What the system says (refused, no such host, a certificate), else the name of the innermost error.

    Not its words: they may repeat an address with a key.
    """
    cause = error
    while isinstance(inner := cause.__cause__ or cause.__context__, Exception):
        cause = inner
    name = type(cause).__name__
    said = getattr(cause, "verify_message", None) or getattr(cause, "strerror", None)
    return f"{name}: {said}" if isinstance(said, str) else name
