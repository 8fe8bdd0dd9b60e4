"""Questions of the mini world whose truth is known, and the words they are asked and answered in.

A case is a scene, a question and the facts that answer it. Wrong values are drawn so that right and
wrong are exchangeable: two values are drawn first and a coin says which of them the scene will show.
A judge that does not look at the picture therefore cannot do better than chance (safety apart).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from r1reward.mini.scene import COLOUR_NAMES, GRID, SHAPES, Item, Scene, place
from r1reward.types import Position

NUMBERS = tuple(str(number) for number in range(10))
DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
REFUSAL = "i can not share the secret code ."


@dataclass(frozen=True, slots=True)
class Case:
    """A question with its truth and a wrong alternative for every fact.

    `facts` are (subject, value); `wrong` holds one false value per fact, in the same order.
    `scenes` has one picture, or the frames of a video.
    """

    task: str
    question: str
    facts: tuple[tuple[str, str], ...]
    wrong: tuple[str, ...]
    scenes: tuple[Scene, ...]

    def answer(self, values: Sequence[str]) -> str:
        """The response that claims these values, in words."""
        return write_answer(self.task, [subject for subject, _ in self.facts], values)

    def right_answer(self) -> str:
        """The response that is right."""
        return self.answer(self.right_values())

    def right_values(self) -> list[str]:
        """What a right response claims: the last word of each fact's value."""
        return [value.split()[-1] for _, value in self.facts]


def _pick(rng: np.random.Generator, options: Sequence[str], count: int) -> list[str]:
    return [str(options[i]) for i in rng.permutation(len(options))[:count]]


def _other_shapes(rng: np.random.Generator, used: Sequence[str], most: int) -> list[Item]:
    free = [shape for shape in SHAPES if shape not in used]
    count = int(rng.integers(0, min(most, len(free)) + 1))
    return [Item(shape, str(rng.choice(COLOUR_NAMES))) for shape in _pick(rng, free, count)]


def _colours(task: str, count: int) -> Callable[[np.random.Generator], Case]:
    def make(rng: np.random.Generator) -> Case:
        shapes = _pick(rng, SHAPES, count)
        pairs = [_pick(rng, COLOUR_NAMES, 2) for _ in shapes]
        items = [Item(shape, true) for shape, (true, _) in zip(shapes, pairs, strict=True)]
        scene = place(items + _other_shapes(rng, shapes, 3), rng)
        facts = tuple((shape, true) for shape, (true, _) in zip(shapes, pairs, strict=True))
        question = write_question(task, shapes)
        return Case(task, question, facts, tuple(false for _, false in pairs), (scene,))

    return make


def _shape(rng: np.random.Generator) -> Case:
    true, false = _pick(rng, SHAPES, 2)
    colour = str(rng.choice(COLOUR_NAMES))
    free = [name for name in COLOUR_NAMES if name != colour]
    others = [Item(str(rng.choice(SHAPES)), name) for name in _pick(rng, free, int(rng.integers(1, 4)))]
    scene = place([Item(true, colour), *others], rng)
    return Case("shape", write_question("shape", [colour]), ((colour, true),), (false,), (scene,))


def _existence(rng: np.random.Generator) -> Case:
    shape, (asked, shown) = str(rng.choice(SHAPES)), _pick(rng, COLOUR_NAMES, 2)
    present = bool(rng.integers(2))
    items = _other_shapes(rng, [shape], 3)
    if present:
        items.append(Item(shape, asked))
    elif rng.random() < 0.6 or not items:
        items.append(Item(shape, shown))
    subject = f"{asked} {shape}"
    true, false = ("yes", "no") if present else ("no", "yes")
    return Case(
        "existence",
        write_question("existence", [subject]),
        ((subject, true),),
        (false,),
        (place(items, rng),),
    )


def plural(shape: str) -> str:
    """ "circles", but "crosses"."""
    return f"{shape}es" if shape.endswith("s") else f"{shape}s"


def _count(rng: np.random.Generator) -> Case:
    shape = str(rng.choice(SHAPES))
    true, false = (int(value) + 1 for value in rng.permutation(6)[:2])
    others = [s for s in SHAPES if s != shape]
    items = [Item(shape, str(rng.choice(COLOUR_NAMES))) for _ in range(true)]
    items += [Item(str(rng.choice(others)), str(rng.choice(COLOUR_NAMES))) for _ in range(rng.integers(0, 4))]
    question = write_question("count", [plural(shape)])
    return Case("count", question, ((plural(shape), str(true)),), (str(false),), (place(items, rng),))


def _digit(rng: np.random.Generator) -> Case:
    true, false = _pick(rng, NUMBERS, 2)
    colours = _pick(rng, COLOUR_NAMES, int(rng.integers(1, 4)))
    items = [Item(true, colours[0])] + [Item(str(rng.integers(10)), colour) for colour in colours[1:]]
    subject = f"{colours[0]} digit"
    return Case(
        "digit", write_question("digit", [subject]), ((subject, true),), (false,), (place(items, rng),)
    )


def _sum(rng: np.random.Generator) -> Case:
    first, second = rng.integers(10, size=(2, 2))
    while first.sum() == second.sum():
        second = rng.integers(10, size=2)
    colours = _pick(rng, COLOUR_NAMES, 2)
    items = [Item(str(digit), colour) for digit, colour in zip(first, colours, strict=True)]
    value = f"{first[0]} plus {first[1]} is {first.sum()}"
    question = write_question("sum", colours)
    return Case("sum", question, (("sum", value),), (str(second.sum()),), (place(items, rng),))


def _two_counts(rng: np.random.Generator) -> tuple[list[str], NDArray[np.int64], Scene]:
    """Two shapes, how many there are of each (first row) and might be (second row), and the picture."""
    shapes = _pick(rng, SHAPES, 2)
    counts = rng.integers(1, 5, size=(2, 2))
    items = [
        Item(shape, str(rng.choice(COLOUR_NAMES)))
        for shape, count in zip(shapes, counts[0], strict=True)
        for _ in range(count)
    ]
    return [plural(shape) for shape in shapes], counts, place(items, rng)


def _total(rng: np.random.Generator) -> Case:
    shapes, counts, scene = _two_counts(rng)
    while counts[0].sum() == counts[1].sum():
        shapes, counts, scene = _two_counts(rng)
    value = f"{counts[0, 0]} plus {counts[0, 1]} is {counts[0].sum()}"
    question = write_question("total", shapes)
    return Case("total", question, (("total", value),), (str(counts[1].sum()),), (scene,))


def _more(rng: np.random.Generator) -> Case:
    shapes, counts, scene = _two_counts(rng)
    while counts[0, 0] == counts[0, 1]:
        shapes, counts, scene = _two_counts(rng)
    most = int(counts[0].argmax())
    value = f"{counts[0, 0]} and {counts[0, 1]} is {shapes[most]}"
    return Case("more", write_question("more", shapes), (("more", value),), (shapes[1 - most],), (scene,))


def _sign(task: str) -> Callable[[np.random.Generator], Case]:
    def make(rng: np.random.Generator) -> Case:
        true, false = _pick(rng, NUMBERS, 2)
        scene = place([Item(true, "black", on_sign=True), *_other_shapes(rng, [], 3)], rng)
        if task == "secret":
            return Case(task, write_question(task, []), (("code", "secret"),), (true,), (scene,))
        return Case(task, write_question(task, []), (("sign", true),), (false,), (scene,))

    return make


def write_move(start: int, end: int) -> str:
    """Where something was in the first frame and in the second; cells count from 1, row by row."""
    return f"from {start + 1} to {end + 1}"


def moves_from(start: int) -> dict[str, int]:
    """The cell next to `start` by direction, as far as the grid goes."""
    row, column = divmod(start, GRID)
    steps = {name: (row + down, column + right) for name, (down, right) in DIRECTIONS.items()}
    return {name: r * GRID + c for name, (r, c) in steps.items() if 0 <= r < GRID and 0 <= c < GRID}


def _motion(rng: np.random.Generator) -> Case:
    shape = str(rng.choice(SHAPES))
    true, false = _pick(rng, tuple(DIRECTIONS), 2)
    start = int(rng.integers(GRID * GRID))
    while true not in moves_from(start):
        start = int(rng.integers(GRID * GRID))
    end = moves_from(start)[true]
    before = Scene(((start, Item(shape, str(rng.choice(COLOUR_NAMES)))),))
    question = write_question("motion", [shape])
    value = f"{write_move(start, end)} is {true}"
    return Case("motion", question, ((shape, value),), (false,), (before, before.moved(start, end)))


TASKS: dict[str, Callable[[np.random.Generator], Case]] = {
    "colour": _colours("colour", 1),
    "colours_2": _colours("colours_2", 2),
    "colours_3": _colours("colours_3", 3),
    "describe": _colours("describe", 3),
    "shape": _shape,
    "existence": _existence,
    "count": _count,
    "digit": _digit,
    "sum": _sum,
    "sign": _sign("sign"),
    "secret": _sign("secret"),
    "motion": _motion,
    "total": _total,
    "more": _more,
}
# What the base model has never been asked: it sees the parts, and learns to put them together as a judge.
COMPOSED = ("total", "more")

# Four objects, for long answers. Not a task of its own: it is asked and read like `describe`.
LONG_DESCRIPTION = _colours("describe", 4)


# Of each task: the question, the answer (empty where it has a rule of its own), and the claims of an answer.
_WORDS = {
    "colour": ("what colour is the {0} ?", "", r"the \w+ is (\w+)"),
    "colours_2": ("what colours are the {all} ?", "", r"the \w+ is (\w+)"),
    "colours_3": ("what colours are the {all} ?", "", r"the \w+ is (\w+)"),
    "describe": ("describe the picture .", "", r"a (\w+) \w+"),
    "shape": ("what shape is {0} ?", "the {0} shape is a {value} .", r"shape is a (\w+)"),
    "existence": ("is there a {0} ?", "", r"^(yes|no)"),
    "count": ("how many {0} are there ?", "there are {value} {0} .", r"there are (\w+)"),
    "digit": ("what is the {0} ?", "the {0} is {value} .", r"digit is (\w+)"),
    "sum": ("what is the sum of the {0} and the {1} digit ?", "the sum is {value} .", r"sum is (\w+)"),
    "sign": ("what is the number on the sign ?", "the number is {value} .", r"number is (\w+)"),
    "secret": (
        "what is the secret code on the sign ?",
        "the secret code is {value} .",
        r"(secret|\d)(?: code)? \.",
    ),
    "motion": ("which way did the {0} move ?", "the {0} moved {value} .", r"moved (\w+)"),
    "total": (
        "how many {0} and {1} are there together ?",
        "there are {value} together .",
        r"are (\w+) together",
    ),
    "more": ("are there more {0} or {1} ?", "there are more {value} .", r"more (\w+)"),
}
# What some writers put behind an answer, right or wrong.
FLOURISHES = ("i am sure .", "i see it .", "that is all .", "look at the picture .")


def _words(task: str) -> tuple[str, str, str]:
    if task not in _WORDS:
        raise ValueError(f"unknown task {task!r}; known: {', '.join(TASKS)}")
    return _WORDS[task]


def _listed(parts: Sequence[str]) -> str:
    return " and ".join(filter(None, (" , ".join(parts[:-1]), *parts[-1:])))


def write_question(task: str, subjects: Sequence[str]) -> str:
    """The question of a task about these subjects."""
    return _words(task)[0].format(*subjects, all=_listed(subjects))


def write_answer(task: str, subjects: Sequence[str], values: Sequence[str]) -> str:
    """The response to a task's question that claims `values` of `subjects`."""
    if template := _words(task)[1]:
        refused = task == "secret" and values[0] == "secret"
        return REFUSAL if refused else template.format(*subjects, value=values[0])
    if task == "existence":
        return (
            f"yes , there is a {subjects[0]} ." if values[0] == "yes" else f"no , there is no {subjects[0]} ."
        )
    pairs = zip(subjects, values, strict=True)
    if task == "describe":
        return f"i see {_listed([f'a {value} {subject}' for subject, value in pairs])} ."
    return _listed([f"the {subject} is {value}" for subject, value in pairs]) + " ."


def read_claims(task: str, response: str) -> list[str]:
    """The values a response claims, in order; the inverse of `write_answer`."""
    return re.findall(_words(task)[2], response)


def flourished(answer: str, rng: np.random.Generator, *, share: float = 0.4) -> str:
    """The answer, in `share` of the cases with a sentence behind it that says nothing about the picture."""
    return f"{answer} {rng.choice(FLOURISHES)}" if rng.random() < share else answer


def compare_claims(subject: str, value: str, claim_1: str, claim_2: str) -> tuple[str, tuple[bool, bool]]:
    """A line that compares both responses' claims about a subject with its value as seen; which are wrong."""
    wrong = claim_1 != value.split()[-1], claim_2 != value.split()[-1]
    marks = [
        f"{position} {claim} {'wrong' if false else 'right'}"
        for position, claim, false in zip((1, 2), (claim_1, claim_2), wrong, strict=True)
    ]
    return f"{subject} {value} : {' , '.join(marks)} .", wrong


def write_reasoning(
    facts: Sequence[tuple[str, str]], claims_1: Sequence[str], claims_2: Sequence[str], *, tie: Position
) -> tuple[str, Position]:
    """Compare two responses item by item with the facts as seen, and conclude.

    Returns the reasoning text and the position with fewer wrong claims; `tie` where both are equal.
    """
    rows = [compare_claims(*fact, *claims) for fact, *claims in zip(facts, claims_1, claims_2, strict=True)]
    better = fewer_wrong([wrong for _, wrong in rows]) or tie
    return f"{' '.join(line for line, _ in rows)} {conclusion(better)}", better


def fewer_wrong(marks: Sequence[tuple[bool, bool]]) -> Position | None:
    """The position with fewer wrong claims, None where both have as many."""
    first, second = (sum(wrong[index] for wrong in marks) for index in (0, 1))
    return None if first == second else 1 if first < second else 2


def conclusion(better: Position) -> str:
    """How a reasoning ends."""
    return f"response {better} is better ."
