"""The mini world's annotator, in place of GPT-4o: it knows the pictures, and errs as annotators do.

It compares what two responses claim with the facts as it sees them. How it errs stands in `ScriptSettings`,
each weakness with its share and the reason it is there; without any it is the ideal teacher. Most errors
follow from the pair alone, so that a pair it gets wrong once it mostly gets wrong again: difficulty belongs
to the pair, as it does for real annotators (asking GPT-4o again at temperature 0 changes little).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from r1reward.files import read_jsonl, sha256_file
from r1reward.mini.scene import COLOUR_NAMES, SHAPES
from r1reward.mini.tasks import (
    NUMBERS,
    compare_claims,
    conclusion,
    fewer_wrong,
    moves_from,
    plural,
    read_claims,
    write_move,
)
from r1reward.settings import ScriptSettings
from r1reward.types import Position, PreferencePair

MAX_COUNT = 6
MANY = 3  # from here on things are counted one too few
LOOKS_LIKE = {"purple": "blue", "yellow": "green", "ring": "circle", "7": "1"}

Fact = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Truth:
    """What is really in a picture: (subject, value) facts about one question, and all (name, colour)."""

    task: str
    facts: tuple[Fact, ...]
    items: tuple[tuple[str, str], ...]


def read_truth(path: Path) -> dict[tuple[str, str], Truth]:
    """The world's truth by (picture name, question) from `truth.jsonl`; faults name file and row."""
    truth = {}
    for number, row in enumerate(read_jsonl(path), start=1):
        try:
            facts = tuple((subject, value) for subject, value in row["facts"])
            items = tuple((name, colour) for name, colour in row["items"])
            truth[row["image"], row["question"]] = Truth(row["task"], facts, items)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path}, row {number}: faulty truth: {error!r}") from error
    return truth


class ScriptedAnnotator:
    """Compares the claims of both responses with the world's truth, with the weaknesses of its settings.

    An answer follows from the seed, the pair's id and the attempt alone. Whatever is trained on its answers
    is labelled scripted.
    """

    name = "scripted"

    def __init__(self, truth_path: Path, settings: ScriptSettings, seed: int) -> None:
        self.truth = read_truth(truth_path)
        self.truth_hash = sha256_file(truth_path)[:16]
        self.settings, self.seed = settings, seed

    @property
    def fingerprint(self) -> str:
        """Name, settings and the hash of the truth."""
        return f"{self.name} {self.settings.model_dump_json()} seed={self.seed} truth={self.truth_hash}"

    def record(self) -> dict[str, Any]:
        """What answered, for the run's records."""
        return {"annotator": self.name, **self.settings.model_dump(), "seed": self.seed}

    def answer(self, pair: PreferencePair, attempt: int) -> str:
        """One answer. A pair without truth or with other claims than facts is a ValueError."""
        truth = self._truth_of(pair)
        claims = [read_claims(truth.task, response) for response in pair.responses]
        if {len(values) for values in claims} != {len(truth.facts)}:
            raise ValueError(
                f"{pair.origin or pair.pair_id}: claims {claims} do not fit the facts {truth.facts}"
            )
        digest = int.from_bytes(hashlib.sha256(pair.pair_id.encode()).digest()[:8])
        of_pair = np.random.default_rng([self.seed, digest])
        # Counted from 1: a 0 at the end of a seed changes nothing, and would repeat the draws of the pair.
        now = np.random.default_rng([self.seed, digest, attempt + 1])
        names = ScriptSettings.model_fields
        habit = dict(zip(names, of_pair.random(len(names)), strict=True))
        facts, misled = self._look(truth, habit, of_pair, now)
        if habit["laziness"] < self.settings.laziness:
            facts = facts[:1]
        said = list(zip(*claims, strict=True))
        lines, marks = self._compare(truth, facts, said, now)
        better = fewer_wrong(marks)
        if better is None:
            lines.append("both are equal .")
            better = self._choose(pair, habit, of_pair)
        slipped = now.random() < self.settings.slips
        answer = 3 - better if slipped else better
        if misled and habit["intuition"] < self.settings.intuition:
            answer = fewer_wrong(_compared(truth.facts, said)) or better
        return f"<think>{' '.join([*lines, conclusion(better)])}</think><answer>{answer}</answer>"

    def _look(
        self, truth: Truth, habit: dict[str, float], of_pair: np.random.Generator, now: np.random.Generator
    ) -> tuple[list[Fact], bool]:
        """The facts as seen: by the rules that this pair is subject to, and misread now and then.

        And whether a rule made something else of one of them.
        """
        settings, seen, misled = self.settings, [], False
        rules = {name for name in RULES if habit[name] < getattr(settings, name)}
        for subject, true in truth.facts:
            value = true
            for name in RULES:
                if name in rules:
                    value = RULES[name](truth, subject, value)
            misled |= value != true
            other = misread(truth, value, of_pair)
            if of_pair.random() < settings.misreading:
                value = other
            if now.random() < settings.lapses:
                value = misread(truth, value, now)
            seen.append((subject, value))
        return seen, misled

    def _compare(
        self, truth: Truth, facts: Sequence[Fact], claims: Sequence[tuple[str, str]], now: np.random.Generator
    ) -> tuple[list[str], list[tuple[bool, bool]]]:
        """Lines that compare fact by fact, some corrected or read again aloud; and which claims are wrong."""
        settings, lines, marks = self.settings, [], []
        for (subject, value), said in zip(facts, claims, strict=False):
            line, wrong = compare_claims(subject, value, *said)
            if now.random() < settings.corrections:
                first, _ = compare_claims(subject, misread(truth, value, now), *said)
                line = f"{first} check {subject} , no , {line}"
            lines.append(line)
            marks.append(wrong)
        while now.random() < settings.checks:
            index = int(now.integers(len(marks)))
            lines.append(f"check {compare_claims(*facts[index], *claims[index])[0]}")
        return lines, marks

    def _choose(
        self, pair: PreferencePair, habit: dict[str, float], of_pair: np.random.Generator
    ) -> Position:
        """Which of two responses that seem equal: the longer one, in a share of the pairs; else by whim."""
        lengths = [len(response.split()) for response in pair.responses]
        if habit["verbosity"] < self.settings.verbosity and lengths[0] != lengths[1]:
            return 1 if lengths[0] > lengths[1] else 2
        return 1 if of_pair.integers(2) else 2

    def _truth_of(self, pair: PreferencePair) -> Truth:
        image = pair.meta.get("image") or (Path(pair.images[0]).name if pair.images else "")
        try:
            return self.truth[str(image), pair.question]
        except KeyError:
            message = f"{pair.origin or pair.pair_id}: no truth about picture {image!r} and this question"
            raise ValueError(message) from None


def _undercount(truth: Truth, subject: str, value: str) -> str:
    if truth.task == "count":
        return str(_fewer(value))
    if truth.task == "total":
        first, second = (_fewer(count) for count in value.split()[:3:2])
        return f"{first} plus {second} is {first + second}"
    return value


def _fewer(count: str) -> int:
    return int(count) - (int(count) >= MANY)


def _forget_carry(truth: Truth, subject: str, value: str) -> str:
    if truth.task != "sum":
        return value
    working, _, total = value.rpartition(" ")
    return f"{working} {int(total) % 10}"


def _agree(truth: Truth, subject: str, value: str) -> str:
    shown = {name for name, _ in truth.items}
    return "yes" if truth.task == "existence" and subject.split()[-1] in shown else value


def _take_for_familiar(truth: Truth, subject: str, value: str) -> str:
    if truth.task == "sum":
        first, second = (LOOKS_LIKE.get(digit, digit) for digit in value.split()[:3:2])
        return f"{first} plus {second} is {int(first) + int(second)}"
    return value if truth.task in ("count", "total") else LOOKS_LIKE.get(value, value)


# In the order in which they act: what is read, then what is made of it.
RULES = {
    "look_alikes": _take_for_familiar,
    "undercounting": _undercount,
    "forgotten_carries": _forget_carry,
    "agreeing": _agree,
}


def misread(truth: Truth, value: str, rng: np.random.Generator) -> str:
    """A wrong but plausible reading of a fact's value: another colour, a count one off, another digit."""
    task = truth.task
    if task in ("sum", "total"):
        digits = value.split()[:3:2]
        index = int(rng.integers(2))
        digits[index] = _other(NUMBERS if task == "sum" else NUMBERS[1:5], digits[index], rng)
        return f"{digits[0]} plus {digits[1]} is {int(digits[0]) + int(digits[1])}"
    if task == "motion":
        start = int(value.split()[1]) - 1
        seen = _other(list(moves_from(start)), value.split()[-1], rng)
        return f"{write_move(start, moves_from(start).get(seen, start))} is {seen}"
    if task == "count":
        nearby = [str(count) for count in (int(value) - 1, int(value) + 1) if 1 <= count <= MAX_COUNT]
        return _other(nearby, value, rng)
    if task == "more":
        counts, _, shape = value.rpartition(" ")
        return f"{counts} {_other(sorted({plural(name) for name, _ in truth.items}), shape, rng)}"
    for kind in (COLOUR_NAMES, SHAPES, ("yes", "no"), (*NUMBERS, "secret")):
        if value in kind:
            return _other(kind, value, rng)
    raise ValueError(f"task {task!r} has no value {value!r}")


def _compared(facts: Sequence[Fact], said: Sequence[tuple[str, str]]) -> list[tuple[bool, bool]]:
    """Which claims are wrong, fact by fact."""
    return [compare_claims(*fact, *claims)[1] for fact, claims in zip(facts, said, strict=True)]


def _other(options: Sequence[str], value: str, rng: np.random.Generator) -> str:
    return str(rng.choice([option for option in options if option != value]))
