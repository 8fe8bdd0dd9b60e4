"""Which questions a data set of the mini world asks, and the responses that are wrong."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

from r1reward.mini.scene import COLOUR_NAMES, SHAPES, Split, render
from r1reward.mini.tasks import LONG_DESCRIPTION, NUMBERS, TASKS, Case

OPTIONS: dict[str, tuple[str, ...]] = {
    "colour": COLOUR_NAMES,
    "shape": SHAPES,
    "count": NUMBERS[1:7],
    "digit": NUMBERS,
}
LETTERS = "ABCD"
MakeCase = Callable[[np.random.Generator], Case]


class Writer:
    """Draws cases and pictures of one data set and collects its truth."""

    def __init__(self, name: str, split: Split, seed: int) -> None:
        self.name, self.seed = name, seed
        self.split: Split = split
        self.truth: list[dict[str, object]] = []

    def rows(
        self, count: int, shares: Mapping[str, float]
    ) -> Iterator[tuple[int, str, bytes, Case, np.random.Generator]]:
        """(row number, picture name, PNG bytes, case, generator) with tasks drawn by their shares."""
        for row in range(count):
            rng = self.generator(row)
            task = str(rng.choice(list(shares), p=list(shares.values())))
            case = MAKERS[task](rng)
            image = f"{self.name}_{row:06d}.png"
            png = self.draw(case, rng)[0]
            self.note(image, case, case.question)
            yield row, image, png, case, rng

    def generator(self, row: int) -> np.random.Generator:
        """The random numbers of one row, the same however many rows there are."""
        return np.random.default_rng([self.seed, *self.name.encode(), row])

    def draw(self, case: Case, rng: np.random.Generator) -> list[bytes]:
        """The case's scenes as PNG: one picture, or the frames of a video."""
        drawn = []
        for scene in case.scenes:
            buffer = io.BytesIO()
            render(scene, rng, self.split).save(buffer, "PNG")
            drawn.append(buffer.getvalue())
        return drawn

    def note(self, image: str, case: Case, question: str) -> None:
        """Put down what is true of a picture, for a question as the loader will give it."""
        self.truth.append(
            {
                "image": image,
                "question": question,
                "task": case.task,
                "facts": [list(fact) for fact in case.facts],
                "difficulty": case.difficulty,
            }
        )


def spoil(case: Case, rng: np.random.Generator, *, count: int | None = None) -> str:
    """A response with `count` wrong claims; by default mostly one, which is the hardest to notice."""
    values = case.right_values()
    if count is None:
        count = 1 if rng.random() < 0.7 else len(values)
    for index in rng.permutation(len(values))[:count]:
        values[index] = case.wrong[index]
    return case.answer(values)


def spoil_in_all_ways(case: Case, rng: np.random.Generator) -> list[str]:
    """Every response with at least one wrong claim, in random order."""
    right, wrong = case.right_values(), case.wrong
    spoilt = [list(values) for values in product(*zip(right, wrong, strict=True)) if list(values) != right]
    return [case.answer(spoilt[index]) for index in rng.permutation(len(spoilt))]


def multiple_choice(rng: np.random.Generator) -> tuple[Case, str, str]:
    """A question with options A to D, and the answers with the right and with the wrong letter.

    The answer repeats the sentence of its option, so its claims are read like those of any other. Both
    letters are drawn with the options' order: right and wrong stay exchangeable.
    """
    case = TASKS[str(rng.choice(list(OPTIONS)))](rng)
    right, wrong = case.right_values()[0], case.wrong[0]
    others = [value for value in OPTIONS[case.task] if value not in (right, wrong)]
    values = [right, wrong, *(others[i] for i in rng.permutation(len(others))[:2])]
    shown = [values[i] for i in rng.permutation(4)]
    question = ask_options(case.question, shown)
    chosen, rejected = (f"{LETTERS[shown.index(v)]} . {case.answer([v])}" for v in (right, wrong))
    return replace(case, question=question), chosen, rejected


def ask_options(question: str, options: Sequence[str]) -> str:
    """A question with its options A to D behind it."""
    listed = " , ".join(f"{letter} : {value}" for letter, value in zip(LETTERS, options, strict=True))
    return f"{question} {listed} ."


MAKERS: dict[str, MakeCase] = {**TASKS, "describe_4": LONG_DESCRIPTION}


def write_picture(path: Path, png: bytes) -> None:
    """Not synced one by one: `truth.jsonl`, written last, says that the world is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png)
