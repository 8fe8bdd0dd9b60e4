"""The annotators: a script for the mini world, any OpenAI-compatible server, a model on this machine."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, ClassVar

from r1reward.data.annotate import AnnotatorError, UnansweredError
from r1reward.data.sources import RELEASED_FOR_RL
from r1reward.engines import Engine, Sampling
from r1reward.judge.generative import judge_request
from r1reward.mini.annotator import ScriptedAnnotator
from r1reward.prompts import PromptName, judge_prompt, prompt_hash
from r1reward.servers.client import STOPPED, ServerClient, ServerError
from r1reward.servers.replies import Fault, Reply
from r1reward.servers.requests import chat_body, user_turn
from r1reward.settings import AnnotatorSettings, DataSettings
from r1reward.types import PreferencePair

MAX_FAILED_IN_A_ROW = 10
GO_ON = "finished pairs are kept, run again to go on"


class OpenAIAnnotator:
    """Asks a server through the `openai` client (extra `api`), as in the paper's §3.2; safe for threads.

    At temperature 0 a second attempt repeats the first one's request, and mostly its answer: what differs is
    the server's rounding in batches of another size. The paper says no more, so this is the default;
    `retry_temperature` or `seed` make attempts differ on purpose.

    Each request is logged in `log`. A request without an answer is repeated up to `max_retries` times;
    after that, or where the server refuses this one request (400 and its kin), it is an UnansweredError.
    An AnnotatorError ends the run where no request can succeed (refused key, unknown model, no credit) or
    ten attempts in a row failed. The key is read from the environment and
    passed to the client; it is kept out of everything that is written.

    `prompt` is Table 1's unless given. `section` is where the settings stand in a profile. `sleep`
    takes seconds.
    """

    def __init__(
        self,
        settings: AnnotatorSettings,
        *,
        prompt: PromptName = "paper",
        section: str = "data.openai",
        log: Path | None = None,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        self.settings = settings
        self._prompt: PromptName = prompt
        self.concurrency = settings.concurrency
        try:
            self._client = ServerClient(settings, section=section, log=log, sleep=sleep)
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


@dataclass(frozen=True)
class ModelAnnotator:
    """A vision-language model, asked in batches on this machine (the weak annotator, paper C.8).

    The first attempt has `temperature`, later ones `retry_temperature`: at temperature 0 a model of one's own
    gives the same answer again. `model` names the weights of the engine (a hash, a path).
    """

    name: ClassVar[str] = "model"
    engine: Engine
    model: str
    prompt: PromptName
    max_new_tokens: int
    temperature: float = 0.0
    retry_temperature: float = 1.0
    seed: int = 0
    batch_size: int = 256

    @property
    def fingerprint(self) -> str:
        """Weights, prompt and everything that draws the answers."""
        drawn = [self.temperature, self.retry_temperature, self.max_new_tokens, self.seed, self.batch_size]
        return f"{self.model} prompt={prompt_hash(self.prompt)[:16]} {drawn}"

    def answers(self, pairs: Sequence[PreferencePair], attempt: int) -> list[str]:
        """One answer for each pair, which may depend on the pairs beside it. Raises EngineError."""
        digest = hashlib.sha256(f"{self.seed} {attempt} {pairs[0].pair_id}".encode()).digest()
        sampling = Sampling(
            self.max_new_tokens,
            temperature=self.retry_temperature if attempt else self.temperature,
            seed=int.from_bytes(digest[:8]),
        )
        requests = [judge_request(pair, prompt=self.prompt) for pair in pairs]
        return [completion.text for (completion,) in self.engine.generate(requests, sampling)]


class Nobody:
    """The annotator of data that need none: it is never asked, and wants no key and no truth."""

    name = fingerprint = "nobody"

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        """Raises AnnotatorError."""
        raise AnnotatorError(f"nobody annotates {pair.pair_id}")

    def record(self) -> dict[str, object]:
        """Nothing to say."""
        return {}


def make_annotator(
    settings: DataSettings, truth_path: Path, seed: int, *, log: Path | None = None
) -> ScriptedAnnotator | OpenAIAnnotator | Nobody:
    """The annotator that the settings name; `Nobody` where all data are released as RL data.

    `truth_path` is for the scripted one. `log` gets a line for each request to a server. Raises
    AnnotatorError without the extra `api` or the key.
    """
    if settings.sources and set(settings.sources) <= set(RELEASED_FOR_RL):
        return Nobody()
    if settings.annotator == "openai":
        return OpenAIAnnotator(settings.openai, log=log)
    return ScriptedAnnotator(truth_path, settings.script, seed)


def answers_folder(settings: DataSettings, work: Path, *, paid: Path) -> Path:
    """Where annotations are kept: in `work`, or, if a server is paid for them, where they outlive a run.

    That is the folder that the settings name, or one below `paid`.
    """
    if settings.annotator != "openai":
        return work
    return Path(settings.openai.folder) if settings.openai.folder else paid / "annotator"
