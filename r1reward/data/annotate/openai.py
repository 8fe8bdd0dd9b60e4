"""An annotator behind any OpenAI-compatible server, asked as in the paper's §3.2.

At temperature 0 a second attempt repeats the first one's request, and mostly its answer: what differs is
the server's rounding in batches of another size. The paper says no more, so this is the default;
`retry_temperature` or `seed` make attempts differ on purpose.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import Any

from r1reward.data.annotate.base import AnnotatorError, UnansweredError
from r1reward.prompts import PromptName, judge_prompt, prompt_hash
from r1reward.servers.client import STOPPED, ServerClient, ServerError
from r1reward.servers.messages import user_turn
from r1reward.servers.parameters import chat_body
from r1reward.servers.replies import Fault, Reply
from r1reward.settings import AnnotatorSettings
from r1reward.types import PreferencePair

MAX_FAILED_IN_A_ROW = 10
GO_ON = "finished pairs are kept, run again to go on"


class OpenAIAnnotator:
    """Asks a server through the `openai` client (extra `api`); safe for threads.

    Each request is logged in `log`. A request without an answer is repeated up to `max_retries` times;
    after that, or where the server refuses this one request (400 and its kin), it is an UnansweredError.
    An AnnotatorError ends the run where no request can succeed (refused key, unknown model, no credit) or
    ten attempts in a row failed. The key is read from the environment and
    passed to the client; it is kept out of everything that is written.

    `prompt` is Table 1's unless given. `section` is where the settings stand in a profile. `sleep` takes
    seconds, `clock` gives seconds since 1970, `seed` is for the spread of waiting times.
    """

    def __init__(
        self,
        settings: AnnotatorSettings,
        *,
        prompt: PromptName = "paper",
        section: str = "data.openai",
        log: Path | None = None,
        seed: int = 0,
        sleep: Callable[[float], Any] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self._prompt: PromptName = prompt
        self.concurrency = settings.concurrency
        try:
            self._client = ServerClient(
                settings, section=section, log=log, seed=seed, sleep=sleep, clock=clock
            )
        except ServerError as error:
            raise AnnotatorError(str(error)) from error
        self.log = self._client.log
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
        return f"openai {sorted(sent.items())} prompt={prompt_hash(self._prompt)[:16]}"

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        """The server's answer.

        Raises UnansweredError and AnnotatorError (see the class), and PictureError for its pictures.
        """
        about = {"pair_id": pair.pair_id, "attempt": attempt}
        outcome = self._client.ask(self._body(pair, attempt), about=about)
        if isinstance(outcome, Reply):
            with self._lock:
                self._failed_in_a_row = 0
            return outcome.text
        if outcome is STOPPED:
            raise AnnotatorError("stopped")
        if outcome.fatal:
            raise AnnotatorError(f"{self._client.advice(outcome)}; {GO_ON}")
        self._count_failure(outcome)
        raise UnansweredError(f"{self.settings.base_url} gave no answer: {outcome.message}")

    def status(self) -> str:
        """Cost and faults so far, for the line of progress."""
        record = self.record()
        tokens = record["prompt_tokens"] + record["completion_tokens"]
        cost = f"${record['dollars']:.2f}" if record["dollars"] else f"{tokens} tokens"
        return f"{cost}, {sum(record['faults'].values())} faults"

    def record(self) -> dict[str, Any]:
        """Who was asked, requests, faults by kind, tokens and dollars, earlier processes included."""
        return {"annotator": self.name, **self._client.record()}

    def stop(self) -> None:
        """Let no further request begin, and end all waiting."""
        self._client.stop()

    def _body(self, pair: PreferencePair, attempt: int) -> dict[str, Any]:
        settings = self.settings
        text = judge_prompt(pair, name=self._prompt)
        raised = settings.retry_temperature if attempt else None
        return chat_body(
            settings.model,
            user_turn(text, [*pair.images, *pair.frames], origin=pair.label),
            temperature=settings.temperature if raised is None else raised,
            max_tokens=settings.max_tokens,
            seed=None if settings.seed is None else settings.seed + attempt,
        )

    def _count_failure(self, fault: Fault) -> None:
        with self._lock:
            self._failed_in_a_row += 1
            in_a_row = self._failed_in_a_row
        if in_a_row >= MAX_FAILED_IN_A_ROW:
            raise AnnotatorError(
                f"{in_a_row} attempts in a row failed at {self.settings.base_url}, the last with "
                f"{fault.message}; {GO_ON}"
            )
