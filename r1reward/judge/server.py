"""A consistency judge behind any OpenAI-compatible server, asked with the released prompt (paper §3.2).

A server may fail at any moment of a training run, which must not end for it: an opinion that cannot be had
is unknown. In the release the whole run ends with its judge, and two requests at the same time may get
each other's answers. Here every question has a key of its own under which its opinion is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

from r1reward.files import append_jsonl, read_jsonl
from r1reward.judge.consistency import read_opinion
from r1reward.prompts import ConsistencyPromptName, consistency_prompt
from r1reward.servers.client import ServerClient, ServerError
from r1reward.servers.parameters import chat_body
from r1reward.servers.replies import Fault, Reply
from r1reward.settings import ServerSettings
from r1reward.types import Verdict

_LOG = logging.getLogger(__name__)
MAX_FAILED_IN_A_ROW = 4
PROBE_RETRIES = 1
KEPT_CHARACTERS = 200


class ServerConsistencyJudge:
    """Asks a model behind a server, once for each distinct question; extra `api`.

    A request without an answer is repeated as the settings say; then the opinion is unknown (None). After
    four questions in a row without an answer the rest of the call is unknown at once. The next call asks
    one question first, with one repetition, and the others only if that is answered.

    Args:
        settings: the server; a missing key, or extra, is a ServerError.
        folder: `opinions.jsonl`, from which a resumed run takes what was answered before, and
            `requests.jsonl`. One process at a time may use it. Nothing is kept unless it is given.
        prompt: how it is asked.
        section: where the settings stand in a profile, for messages.
        seed: for the spread of waiting times.
        sleep: waits for so many seconds; for tests.
        clock: seconds since 1970; for tests.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        folder: str | Path | None = None,
        prompt: ConsistencyPromptName = "released",
        section: str = "judges.server",
        seed: int = 0,
        sleep: Callable[[float], Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        # Without the lock and the client, which cannot be sent to another process.
        self._copy = partial(
            ServerConsistencyJudge, settings, folder=folder, prompt=prompt, section=section, seed=seed
        )
        self.settings = settings
        self._prompt: ConsistencyPromptName = prompt
        log = Path(folder) / "requests.jsonl" if folder else None
        self._client = ServerClient(settings, section=section, log=log, seed=seed, sleep=sleep, clock=clock)
        self._path = Path(folder) / "opinions.jsonl" if folder else None
        self._known = _read_opinions(self._path)
        self._counts = {"unanswered": 0, "unreadable": 0, "outages": 0}
        self._failed_in_a_row = 0
        self._refused: Fault | None = None
        self._answered = self._called = False
        self._lock = Lock()

    def __reduce__(self) -> tuple[Callable[[], Any], tuple[()]]:
        return self._copy, ()

    @property
    def fingerprint(self) -> str:
        """Prompt, model and what is sent with it.

        The address is no part of it: a run goes on when the same model is served elsewhere after an outage.
        """
        sent = self.settings.model_dump(include={"model", "temperature", "seed", "max_tokens"})
        return f"server {sorted(sent.items())}, {self._prompt} prompt"

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        """One opinion for each reasoning and its verdict; lists of different length are a ValueError.

        Raises ServerError only if the server refuses the key or has no such model at the very first call.
        """
        questions = [
            consistency_prompt(reasoning, verdict, name=self._prompt)
            for reasoning, verdict in zip(reasonings, verdicts, strict=True)
        ]
        keys = [self._key(question) for question in questions]
        new = {key: text for key, text in zip(keys, questions, strict=True) if key not in self._known}
        if new:
            self._ask_all(new)
        self._counts["unanswered"] += sum(key not in self._known for key in keys)
        return [self._known.get(key) for key in keys]

    def record(self) -> dict[str, Any]:
        """Who was asked, requests, faults by kind and cost, earlier processes included.

        Of this process alone: opinions that are unknown because no answer was had (`unanswered`), answers
        that say neither 0 nor 1 (`unreadable`), and `outages`.
        """
        return {"judge": self.settings.model, **self._client.record(), **self._counts}

    def _ask_all(self, new: Mapping[str, str]) -> None:
        """Ask what is new, side by side; what is answered is in `_known` afterwards."""
        self._client.resume()
        waiting = list(new.items())
        if self._is_out():
            self._ask(*waiting.pop(0), max_retries=PROBE_RETRIES)
            if self._is_out():
                return
            _LOG.warning("the judge at %s answers again", self.settings.base_url)
        with ThreadPoolExecutor(self.settings.concurrency) as pool:
            try:
                for asked in [pool.submit(self._ask, key, text) for key, text in waiting]:
                    asked.result()
            except BaseException:
                # Ctrl-C, or a full disk while an opinion is kept: no thread may go on asking.
                self._client.stop()
                raise
        if self._refused and not self._called and not self._answered:
            raise ServerError(self._client.advice(self._refused))
        self._called = True

    def _ask(self, key: str, question: str, max_retries: int | None = None) -> None:
        """Ask one question. Its answer is kept under its own key, whatever else comes back meanwhile."""
        settings = self.settings
        body = chat_body(
            settings.model,
            [{"role": "user", "content": question}],
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            seed=settings.seed,
        )
        outcome = self._client.ask(body, about={"key": key}, max_retries=max_retries)
        with self._lock:
            if isinstance(outcome, Reply):
                # Figures in the judge's own reasoning are no opinion.
                self._keep(key, outcome.content.rpartition("</think>")[2])
            elif outcome.retry or outcome.fatal:
                self._count_failure(outcome)

    def _keep(self, key: str, answer: str) -> None:
        self._answered, self._failed_in_a_row = True, 0
        opinion = read_opinion(answer)
        self._counts["unreadable"] += opinion is None
        if self._path:
            row = {"key": key, "opinion": opinion, "answer": answer[:KEPT_CHARACTERS]}
            append_jsonl(self._path, row, durable=False)
        self._known[key] = opinion

    def _count_failure(self, fault: Fault) -> None:
        """Note a question without an answer; an outage ends all waiting, and so does a refusal at first."""
        if fault.fatal and not self._called and not self._answered:
            self._refused = fault
            self._client.stop()
            return
        self._failed_in_a_row += 1
        if self._failed_in_a_row == MAX_FAILED_IN_A_ROW:
            self._counts["outages"] += 1
            _LOG.warning(
                "%d questions in a row had no answer from the judge at %s, the last with %s; consistency is "
                "unknown and pays nothing until it answers again",
                MAX_FAILED_IN_A_ROW, self.settings.base_url, fault.message,
            )  # fmt: skip
        if self._is_out():
            self._client.stop()

    def _is_out(self) -> bool:
        return self._failed_in_a_row >= MAX_FAILED_IN_A_ROW

    def _key(self, question: str) -> str:
        """A hash of the question and of everything else its answer depends on."""
        return hashlib.sha256(json.dumps([self.fingerprint, question]).encode()).hexdigest()[:32]


def _read_opinions(path: Path | None) -> dict[str, bool | None]:
    if path is None or not path.is_file():
        return {}
    return {row["key"]: row["opinion"] for row in read_jsonl(path, drop_partial=True)}
