"""Does the reasoning agree with the final answer? (paper §3.2, the consistency reward)

The paper asks Qwen2.5-VL-7B-Instruct, and in C.11 a weaker model, the same with a quarter of its opinions
flipped, and a coin. At mini scale small models trained for it take their place (`train/consistency.py`);
`ScriptedConsistencyJudge` reads the conclusion where the reasoning says it in fixed words.

A model may also stand behind an OpenAI-compatible server, asked with the released prompt. A server may fail
at any moment of a training run, which must not end for it: an opinion that cannot be had is unknown. In the
release the whole run ends with its judge, and two requests at the same time may get each other's answers.
Here every question has a key of its own under which its opinion is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Protocol

from r1reward.engines import Engine, Sampling
from r1reward.engines.loading import checkpoint_hash, load_model
from r1reward.engines.transformers import TransformersEngine
from r1reward.files import append_jsonl, read_jsonl
from r1reward.prompts import ConsistencyPromptName, consistency_prompt
from r1reward.servers.client import ServerClient, ServerError, side_by_side
from r1reward.servers.replies import Fault, Reply
from r1reward.servers.requests import chat_body
from r1reward.settings import Profile, ServerSettings
from r1reward.types import Request, Verdict

_CONCLUSION = re.compile(
    r"\bresponse\s+([12])\s+is\s+(?:(?:the|clearly|slightly|much)\s+)?better\b", re.IGNORECASE
)
MAX_OPINION_TOKENS = 4
FLIPPED_SHARE = 0.25
JudgeName = Literal["strong", "weak", "noisy", "random"]
_LOG = logging.getLogger(__name__)
MAX_FAILED_IN_A_ROW = 4
PROBE_RETRIES = 1
KEPT_CHARACTERS = 200


class ConsistencyJudge(Protocol):
    """True if a reasoning supports its verdict, False if it contradicts it, None if that is unknown.

    `fingerprint` changes with its opinions.
    """

    @property
    def fingerprint(self) -> str: ...

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]: ...


class ScriptedConsistencyJudge:
    """Compares the last "response X is better" of the reasoning with the verdict.

    None where the reasoning says nothing of the kind or there is no verdict.
    """

    fingerprint = "scripted"

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        """One value for each reasoning and its verdict; lists of different length are a ValueError."""
        return [_agrees(reasoning, verdict) for reasoning, verdict in zip(reasonings, verdicts, strict=True)]


class ModelConsistencyJudge:
    """Asks a model by `prompt`, once for each distinct question; it is loaded when first asked.

    Args:
        checkpoint: folder or hub id of a Qwen2.5-VL.
        prompt: how it is asked.
        engine: anything with `Engine.generate` in place of the checkpoint's own engine.
    """

    def __init__(
        self, checkpoint: str | Path, *, prompt: ConsistencyPromptName = "mini", engine: Engine | None = None
    ) -> None:
        self._checkpoint = str(checkpoint)
        self._prompt: ConsistencyPromptName = prompt
        self._engine = engine
        self._known: dict[str, bool | None] = {}

    @property
    def fingerprint(self) -> str:
        """Prompt and checkpoint."""
        return f"{self._prompt} prompt, {checkpoint_hash(self._checkpoint)}"

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        """One opinion for each reasoning and its verdict; lists of different length are a ValueError."""
        questions = _questions(reasonings, verdicts, self._prompt)
        new = [question for question in dict.fromkeys(questions) if question not in self._known]
        if new:
            requests = [Request(question, origin="a consistency question") for question in new]
            answers = self._loaded().generate(requests, Sampling(MAX_OPINION_TOKENS, temperature=0.0))
            self._known |= {q: read_opinion(answer.text) for q, (answer,) in zip(new, answers, strict=True)}
        return [self._known[question] for question in questions]

    def _loaded(self) -> Engine:
        if self._engine is None:
            self._engine = TransformersEngine(*load_model(self._checkpoint))
        return self._engine


class FlippedConsistencyJudge:
    """Another judge with a share of its opinions turned round (paper C.11: 25 %).

    Which ones follows from the seed and what is judged alone.
    """

    def __init__(self, judge: ConsistencyJudge, *, share: float, seed: int) -> None:
        self._judge, self._share, self._seed = judge, share, seed

    @property
    def fingerprint(self) -> str:
        """Share, seed and the other judge."""
        return f"{self._share} flipped by {self._seed}: {self._judge.fingerprint}"

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        """See `ConsistencyJudge`; what is unknown stays so."""
        opinions = self._judge.judge(reasonings, verdicts)
        draws = _draws(reasonings, verdicts, self._seed)
        return [
            opinion if opinion is None else opinion != (draw < self._share)
            for opinion, draw in zip(opinions, draws, strict=True)
        ]


class RandomConsistencyJudge:
    """A coin for each reasoning and verdict, the same whenever it is asked (paper C.11)."""

    def __init__(self, *, seed: int) -> None:
        self._seed = seed
        self.fingerprint = f"random, seed {seed}"

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        """See `ConsistencyJudge`; never unknown."""
        return [draw < 0.5 for draw in _draws(reasonings, verdicts, self._seed)]


def read_opinion(text: str) -> bool | None:
    """What a judge's answer means, as the release reads it: "1" is agreement, "0" is not.

    Otherwise a 0 anywhere is a no, a 1 anywhere a yes, and anything else unknown.
    """
    answer = re.sub(r"output:", "", text, flags=re.IGNORECASE).strip()
    return False if "0" in answer else True if "1" in answer else None


def _questions(
    reasonings: Sequence[str], verdicts: Sequence[Verdict], prompt: ConsistencyPromptName
) -> list[str]:
    return [consistency_prompt(*judged, name=prompt) for judged in zip(reasonings, verdicts, strict=True)]


def _agrees(reasoning: str, verdict: Verdict) -> bool | None:
    conclusions = _CONCLUSION.findall(reasoning)
    if not conclusions or verdict is Verdict.UNPARSED:
        return None
    return conclusions[-1] == verdict.value


def _draws(reasonings: Sequence[str], verdicts: Sequence[Verdict], seed: int) -> list[float]:
    """Numbers in [0, 1) that follow from the seed and what is judged."""
    keys = [
        f"{seed}\0{verdict}\0{reasoning}" for reasoning, verdict in zip(reasonings, verdicts, strict=True)
    ]
    return [int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64 for key in keys]


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
        sleep: waits for so many seconds; for tests.
    """

    def __init__(
        self,
        settings: ServerSettings,
        *,
        folder: str | Path | None = None,
        prompt: ConsistencyPromptName = "released",
        section: str = "judges.server",
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        # Without the lock and the client, which cannot be sent to another process.
        self._copy = partial(ServerConsistencyJudge, settings, folder=folder, prompt=prompt, section=section)
        self.settings = settings
        self._prompt: ConsistencyPromptName = prompt
        log = Path(folder) / "requests.jsonl" if folder else None
        self._client = ServerClient(settings, section=section, log=log, sleep=sleep)
        self._path = Path(folder) / "opinions.jsonl" if folder else None
        kept = read_jsonl(self._path, drop_partial=True) if self._path and self._path.is_file() else []
        self._known: dict[str, bool | None] = {row["key"]: row["opinion"] for row in kept}
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
        questions = _questions(reasonings, verdicts, self._prompt)
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
        threads = self.settings.concurrency
        for _ in side_by_side(lambda new: self._ask(*new), waiting, threads=threads, stop=self._client.stop):
            pass
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


def make_consistency_judge(
    profile: Profile, name: JudgeName, folder: Path, *, seed: int, cache: Path | None = None
) -> ConsistencyJudge:
    """A judge that `profile.judges` names; "noisy" flips a quarter of the strong one's opinions.

    Args:
        profile: says whether strong and weak judge are trained here or stand behind a server.
        name: one of the judges of Table 13.
        folder: holds the trained ones as `<name>/model`.
        seed: for the flips and the coin.
        cache: where opinions of a server are kept; each process needs a folder of its own.

    Raises ServerError where a server's key or the extra `api` is missing.
    """
    if name == "random":
        return RandomConsistencyJudge(seed=seed)
    if name == "noisy":
        strong = make_consistency_judge(profile, "strong", folder, seed=seed, cache=cache)
        return FlippedConsistencyJudge(strong, share=FLIPPED_SHARE, seed=seed)
    if profile.judges.name == "trained":
        return ModelConsistencyJudge(folder / name / "model")
    section = "server" if name == "strong" else "weak_server"
    settings = getattr(profile.judges, section)
    return ServerConsistencyJudge(settings, folder=cache, section=f"judges.{section}")
