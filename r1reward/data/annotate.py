"""Long chains of thought by an annotator, with its number of attempts as difficulty (paper §3.2).

Each pair is asked up to `max_attempts` times until the answer names the preferred response. Every raw
answer is kept. `ScriptedAnnotator` stands in for GPT-4o in the mini world: it knows what is in the
pictures and misreads on purpose, so whatever is trained on its answers is labelled scripted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from r1reward.data.annotations import Annotation, AnnotationPlaces, Annotations
from r1reward.files import append_jsonl, read_jsonl, sha256_file
from r1reward.mini.scene import COLOUR_NAMES, SHAPES
from r1reward.mini.tasks import NUMBERS, moves_from, read_claims, write_move, write_reasoning
from r1reward.parsing import parse_verdict
from r1reward.types import Position, PreferencePair, Verdict

MAX_MISREADING = 0.5
MAX_COUNT = 6
CHUNK_PAIRS = 64
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


class Annotator(Protocol):
    """Writes `<think>…</think><answer>k</answer>` for a pair. `fingerprint` changes with its answers."""

    @property
    def fingerprint(self) -> str: ...

    def answer(self, pair: PreferencePair, attempt: int) -> str: ...


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
            [str(count) for count in (int(value) - 1, int(value) + 1) if 1 <= count <= 6], value, rng
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


class Pairs(Protocol):
    """Pairs that can be read more than once: a list, or `BuiltData`, which reads its file."""

    def __iter__(self) -> Iterator[PreferencePair]: ...

    def __len__(self) -> int: ...


def annotate_pairs(
    annotator: Annotator,
    pairs: Pairs,
    *,
    path: Path,
    max_attempts: int,
    progress: Callable[[int, int], None] | None = None,
) -> Annotations:
    """Annotations of all pairs in their order, kept as JSON lines in `path` and resumed from there.

    A row is reused only if pair, annotator and number of attempts are the same as when it was written.
    A pair id that occurs twice is a ValueError. Only a few pairs are in memory at a time.
    """
    path = Path(path)
    keys = ((pair.pair_id, _key(annotator, pair, max_attempts)) for pair in pairs)
    with closing(AnnotationPlaces(path, keys)) as places:
        done = places.count()
        standing = zip(pairs, places.in_file(), strict=True)
        waiting = ((pair, key) for pair, (key, in_file) in standing if not in_file)
        while chunk := list(islice(waiting, CHUNK_PAIRS)):
            made = [(annotate_pair(annotator, pair, max_attempts=max_attempts), key) for pair, key in chunk]
            append_jsonl(path, [_to_row(annotation, key) for annotation, key in made])
            done += len(chunk)
            if progress:
                progress(done, len(pairs))
        places.put_in_order()
    return Annotations(path)


def annotate_pair(annotator: Annotator, pair: PreferencePair, *, max_attempts: int) -> Annotation:
    """Ask until the answer names the preferred response, at most `max_attempts` times."""
    answers: list[str] = []
    while len(answers) < max_attempts:
        answers.append(annotator.answer(pair, len(answers)))
        if parse_verdict(answers[-1]).agrees_with(pair.preferred):
            return Annotation(pair.pair_id, tuple(answers), reached=True)
    return Annotation(pair.pair_id, tuple(answers), reached=False)


def _key(annotator: Annotator, pair: PreferencePair, max_attempts: int) -> str:
    parts = [
        annotator.fingerprint,
        max_attempts,
        pair.pair_id,
        pair.question,
        *pair.responses,
        pair.preferred,
    ]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def _to_row(annotation: Annotation, key: str) -> dict[str, Any]:
    verdicts: list[Verdict] = [parse_verdict(answer) for answer in annotation.answers]
    return {
        "pair_id": annotation.pair_id,
        "key": key,
        "attempts": annotation.attempts,
        "reached": annotation.reached,
        "verdicts": verdicts,
        "answers": list(annotation.answers),
    }
