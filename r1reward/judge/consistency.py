"""Does the reasoning agree with the final answer? (paper §3.2, the consistency reward)

The paper asks Qwen2.5-VL-7B-Instruct, and in C.11 a weaker model, the same with a quarter of its opinions
flipped, and a coin. At mini scale small models trained for it take their place (`train/consistency.py`);
`ScriptedConsistencyJudge` reads the conclusion where the reasoning says it in fixed words.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from r1reward.engines import Engine, Sampling
from r1reward.engines.loading import checkpoint_hash, load_model
from r1reward.engines.transformers import TransformersEngine
from r1reward.prompts import ConsistencyPromptName, consistency_prompt
from r1reward.types import Request, Verdict

_CONCLUSION = re.compile(
    r"\bresponse\s+([12])\s+is\s+(?:(?:the|clearly|slightly|much)\s+)?better\b", re.IGNORECASE
)
MAX_OPINION_TOKENS = 4


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
        questions = [
            consistency_prompt(reasoning, verdict, name=self._prompt)
            for reasoning, verdict in zip(reasonings, verdicts, strict=True)
        ]
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
