"""`ScriptedAnnotator` stands in for GPT-4o in the mini world, without any network.

It knows what is in the pictures and misreads on purpose, so whatever is trained on its answers is
labelled scripted.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from r1reward.files import read_jsonl, sha256_file
from r1reward.mini.scene import COLOUR_NAMES, SHAPES
from r1reward.mini.tasks import NUMBERS, moves_from, read_claims, write_move, write_reasoning
from r1reward.types import Position, PreferencePair

MAX_MISREADING = 0.5
MAX_COUNT = 6
ReadClaims = Callable[[str, str], list[str]]


class WriteReasoning(Protocol):
    """Compares two responses with facts; returns the text and the better position (`tie` if equal)."""

    def __call__(
        self,
        facts: Sequence[tuple[str, str]],
        claims_1: Sequence[str],
        claims_2: Sequence[str],
        *,
        tie: Position,
    ) -> tuple[str, Position]: ...


@dataclass(frozen=True, slots=True)
class Truth:
    """What is really in a picture, for one question: the task, (subject, value) facts and a difficulty."""

    task: str
    facts: tuple[tuple[str, str], ...]
    difficulty: int


def misread(task: str, value: str, rng: np.random.Generator) -> str:
    """A wrong but plausible reading of a fact's value: another colour, a count one off, another digit."""
    if task == "sum":
        digits = value.split()[:3:2]
        index = int(rng.integers(2))
        digits[index] = _other(NUMBERS, digits[index], rng)
        return f"{digits[0]} plus {digits[1]} is {int(digits[0]) + int(digits[1])}"
    if task == "motion":
        start = int(value.split()[1]) - 1
        seen = _other(list(moves_from(start)), value.split()[-1], rng)
        return f"{write_move(start, moves_from(start)[seen])} is {seen}"
    if task == "count":
        return _other(
            [str(count) for count in (int(value) - 1, int(value) + 1) if 1 <= count <= MAX_COUNT], value, rng
        )
    for kind in (COLOUR_NAMES, SHAPES, ("yes", "no"), (*NUMBERS, "secret")):
        if value in kind:
            return _other(kind, value, rng)
    raise ValueError(f"task {task!r} has no value {value!r}")


def _other(options: Sequence[str], value: str, rng: np.random.Generator) -> str:
    return str(rng.choice([option for option in options if option != value]))


class ScriptedAnnotator:
    """Stands in for GPT-4o: compares the claims of both responses with the world's truth, misreading some.

    Each fact is misread with probability noise * difficulty, at most one half. Equally wrong responses
    are decided by a coin. An answer follows from the seed, the pair's id and the attempt alone.
    """

    name = "scripted"

    def __init__(
        self,
        truth_path: Path,
        noise: float,
        seed: int,
        *,
        claims: ReadClaims = read_claims,
        reasoning: WriteReasoning = write_reasoning,
    ) -> None:
        self.truth = read_truth(truth_path)
        self.truth_hash = sha256_file(truth_path)[:16]
        self.noise, self.seed = noise, seed
        self.claims, self.reasoning = claims, reasoning

    @property
    def fingerprint(self) -> str:
        """Name, settings and the hash of the truth."""
        return f"{self.name} noise={self.noise} seed={self.seed} truth={self.truth_hash}"

    def record(self) -> dict[str, Any]:
        """What answered, for the run's records."""
        return {"annotator": self.name, "noise": self.noise, "seed": self.seed}

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        """One answer. A pair without truth or with other claims than facts is a ValueError."""
        truth = self._truth_of(pair)
        claims = [self.claims(truth.task, response) for response in pair.responses]
        if {len(values) for values in claims} != {len(truth.facts)}:
            raise ValueError(
                f"{pair.origin or pair.pair_id}: claims {claims} do not fit the facts {truth.facts}"
            )
        digest = hashlib.sha256(pair.pair_id.encode()).digest()[:8]
        rng = np.random.default_rng([self.seed, attempt, int.from_bytes(digest)])
        chance = min(self.noise * truth.difficulty, MAX_MISREADING)
        seen = [
            (subject, misread(truth.task, value, rng) if rng.random() < chance else value)
            for subject, value in truth.facts
        ]
        tie: Position = 1 if rng.integers(2) else 2
        text, position = self.reasoning(seen, claims[0], claims[1], tie=tie)
        return f"<think>{text}</think><answer>{position}</answer>"

    def _truth_of(self, pair: PreferencePair) -> Truth:
        image = pair.meta.get("image") or (Path(pair.images[0]).name if pair.images else "")
        try:
            return self.truth[str(image), pair.question]
        except KeyError:
            message = f"{pair.origin or pair.pair_id}: no truth about picture {image!r} and this question"
            raise ValueError(message) from None


def read_truth(path: Path) -> dict[tuple[str, str], Truth]:
    """The world's truth by (picture name, question) from `truth.jsonl`; faults name file and row."""
    truth = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            facts = tuple((subject, value) for subject, value in row["facts"])
            truth[row["image"], row["question"]] = Truth(row["task"], facts, int(row["difficulty"]))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, row {number}: faulty truth: {error!r}") from error
    return truth
