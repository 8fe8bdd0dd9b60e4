"""What the tiny base model is taught: many short answers about each picture, easy things first.

A tiny model trained straight on judging does not learn to see. Lists name every shape, digit or
count of a picture and so give a dense signal; later turns ask the questions of `tasks.py` and let
the model check single statements. No lesson compares two responses: that is left to the cold start.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from r1reward.mini.scene import COLOUR_NAMES, GRID, SHAPES, Item, Scene, place
from r1reward.mini.tasks import NUMBERS, TASKS, Case, plural, write_answer, write_move, write_question

Turn = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Lesson:
    """A picture (or the frames of a video) and the questions and answers about it."""

    scenes: tuple[Scene, ...]
    turns: tuple[Turn, ...]


@dataclass(frozen=True, slots=True)
class Stage:
    """Part of the curriculum: how many updates, and how often each kind of lesson is drawn."""

    steps: int
    shares: dict[str, float]


CURRICULUM = (
    Stage(700, {"shapes": 1.0}),
    Stage(1300, {"shapes": 0.15, "cells": 0.1, "digits": 0.75}),
    Stage(900, {"shapes": 0.1, "cells": 0.15, "digits": 0.2, "counts": 0.55}),
    Stage(
        1300, {"shapes": 0.05, "digits": 0.1, "counts": 0.1, "questions": 0.45, "cases": 0.15, "moves": 0.15}
    ),
    Stage(
        1800,
        {"counts": 0.1, "questions": 0.25, "cases": 0.1, "existence": 0.25, "moves": 0.15, "motion": 0.15},
    ),
)


def _listed(entries: dict[str, str], names: tuple[str, ...], missing: str) -> str:
    return " , ".join(f"{name} {entries.get(name, missing)}" for name in names) + " ."


def list_shapes(rng: np.random.Generator) -> Lesson:
    """Name the colour of every shape; each shape occurs at most once."""
    count = int(rng.integers(1, 6))
    items = [Item(SHAPES[i], str(rng.choice(COLOUR_NAMES))) for i in rng.permutation(6)[:count]]
    answer = _listed({item.name: item.colour for item in items}, SHAPES, "none")
    return Lesson((place(items, rng),), (("list the shapes .", answer),))


def list_digits(rng: np.random.Generator) -> Lesson:
    """Read every digit, named by its colour; each colour occurs at most once."""
    count = int(rng.integers(2, 7))
    items = [Item(str(rng.integers(10)), COLOUR_NAMES[i]) for i in rng.permutation(6)[:count]]
    answer = _listed({item.colour: item.name for item in items}, COLOUR_NAMES, "none")
    return Lesson((place(items, rng),), (("list the digits .", answer),))


def list_counts(rng: np.random.Generator) -> Lesson:
    """Count every shape; one shape is frequent, the others fill some of the free cells."""
    shapes = [SHAPES[i] for i in rng.permutation(6)]
    names = [shapes[0]] * int(rng.integers(1, 7))
    names += [str(rng.choice(shapes[1:4])) for _ in range(int(rng.integers(0, 10 - len(names))))]
    items = [Item(name, str(rng.choice(COLOUR_NAMES))) for name in names]
    answer = _listed({name: str(count) for name, count in Counter(names).items()}, SHAPES, "0")
    return Lesson((place(items, rng),), (("count the shapes .", answer),))


def list_cells(rng: np.random.Generator) -> Lesson:
    """Say where every shape is; each shape occurs at most once."""
    shapes = [SHAPES[i] for i in rng.permutation(6)[: int(rng.integers(1, 6))]]
    scene = place([Item(shape, str(rng.choice(COLOUR_NAMES))) for shape in shapes], rng)
    answer = _listed({item.name: str(cell + 1) for cell, item in scene.items}, SHAPES, "none")
    return Lesson((scene,), (("list the cells .", answer),))


def list_moves(rng: np.random.Generator) -> Lesson:
    """Say where every shape was in the first frame and is in the second; all of them moved."""
    count = int(rng.integers(1, 5))
    shapes = [SHAPES[i] for i in rng.permutation(6)[:count]]
    cells = [int(cell) for cell in rng.permutation(GRID * GRID)[: 2 * count]]
    items = [Item(shape, str(rng.choice(COLOUR_NAMES))) for shape in shapes]
    before = Scene(tuple(zip(cells[:count], items, strict=True)))
    after = Scene(tuple(zip(cells[count:], items, strict=True)))
    moves = map(write_move, cells[:count], cells[count:])
    answer = _listed(dict(zip(shapes, moves, strict=True)), SHAPES, "none")
    return Lesson((before, after), (("list the moves .", answer),))


def _shape_turns(items: list[Item], rng: np.random.Generator) -> list[tuple[str, list[str], list[str]]]:
    """(task, subjects, values) of questions about the shapes that have one right answer."""
    names, colours = Counter(i.name for i in items), Counter(i.colour for i in items)
    single = [item for item in items if names[item.name] == 1]
    turns = [("colour", [item.name], [item.colour]) for item in single]
    turns += [("shape", [item.colour], [item.name]) for item in items if colours[item.colour] == 1]
    turns += [("count", [plural(name)], [str(count)]) for name, count in names.items()]
    for _ in range(2):
        asked = Item(str(rng.choice(SHAPES)), str(rng.choice(COLOUR_NAMES)))
        if items and rng.random() < 0.5:
            asked = items[rng.integers(len(items))]
        value = "yes" if any((i.name, i.colour) == (asked.name, asked.colour) for i in items) else "no"
        turns.append(("existence", [f"{asked.colour} {asked.name}"], [value]))
    for task, count in (("colours_2", 2), ("colours_3", 3), ("describe", 3)):
        if len(single) >= count:
            chosen = [single[i] for i in rng.permutation(len(single))[:count]]
            if task != "describe":
                turns.append((task, [i.name for i in chosen], [i.colour for i in chosen]))
    return turns


def _digit_turns(items: list[Item], rng: np.random.Generator) -> list[tuple[str, list[str], list[str]]]:
    turns = [("digit", [f"{item.colour} digit"], [item.name]) for item in items]
    if len(items) > 1:
        first, second = (items[i] for i in rng.permutation(len(items))[:2])
        total = f"{first.name} plus {second.name} is {int(first.name) + int(second.name)}"
        turns.append(("sum", [first.colour, second.colour], [total]))
    return turns


def _wrong_value(task: str, value: str, rng: np.random.Generator) -> str:
    options = {"existence": ("yes", "no"), "shape": SHAPES, "count": NUMBERS[1:7], "digit": NUMBERS}
    pool = [o for o in options.get(task, COLOUR_NAMES) if o != value]
    return str(rng.choice(pool))


def _ask(task: str, subjects: list[str], values: list[str], rng: np.random.Generator) -> Turn:
    """A question with its full answer, or a statement to check against the picture."""
    if task == "sum":
        return write_question(task, subjects), f"{values[0]} ."
    if task in ("colour", "shape", "existence", "count", "digit") and rng.random() < 0.35:
        claim = values[0] if rng.random() < 0.5 else _wrong_value(task, values[0], rng)
        mark = "right" if claim == values[0] else "wrong"
        statement = write_answer(task, subjects, [claim])
        return f"check : {statement}", f"{subjects[0]} {values[0]} : {claim} {mark} ."
    return write_question(task, subjects), write_answer(task, subjects, values)


def questions(rng: np.random.Generator) -> Lesson:
    """Five questions or checks about one picture of shapes and digits."""
    shapes = [
        Item(str(rng.choice(SHAPES)), str(rng.choice(COLOUR_NAMES))) for _ in range(int(rng.integers(1, 6)))
    ]
    if rng.random() < 0.4:
        shapes += [
            Item(shapes[0].name, str(rng.choice(COLOUR_NAMES)))
            for _ in range(int(rng.integers(1, 7 - len(shapes))))
        ]
    room = 9 - len(shapes)
    digits = [
        Item(str(rng.integers(10)), COLOUR_NAMES[i])
        for i in rng.permutation(6)[: int(rng.integers(0, min(room, 4) + 1))]
    ]
    turns = _shape_turns(shapes, rng) + 2 * _digit_turns(digits, rng)
    chosen = [turns[i] for i in rng.permutation(len(turns))[:5]]
    return Lesson(
        (place(shapes + digits, rng),),
        tuple(_ask(task, subjects, values, rng) for task, subjects, values in chosen),
    )


def answer_case(case: Case) -> Turn:
    """A task's question and the answer the base model is taught: sums and moves are worked out."""
    if case.task in ("sum", "motion"):
        return case.question, f"{case.facts[0][1]} ."
    return case.question, case.right_answer()


def cases(rng: np.random.Generator) -> Lesson:
    """A task whose picture is special: motion, signs, refusals, descriptions."""
    task = str(rng.choice(["motion", "motion", "sign", "secret", "count", "sum", "describe"]))
    case = TASKS[task](rng)
    return Lesson(case.scenes, (answer_case(case),))


def existence(rng: np.random.Generator) -> Lesson:
    """Four questions whether something is there; what is not there shares its shape or its colour."""
    items = [
        Item(str(rng.choice(SHAPES)), str(rng.choice(COLOUR_NAMES))) for _ in range(int(rng.integers(2, 6)))
    ]
    shown = {(item.name, item.colour) for item in items}
    turns = []
    while len(turns) < 4:
        item, present = items[rng.integers(len(items))], bool(rng.integers(2))
        name, colour = item.name, item.colour
        if not present and rng.integers(2):
            name = str(rng.choice(SHAPES))
        elif not present:
            colour = str(rng.choice(COLOUR_NAMES))
        if ((name, colour) in shown) == present:
            turns.append(_ask("existence", [f"{colour} {name}"], ["yes" if present else "no"], rng))
    return Lesson((place(items, rng),), tuple(turns))


def motion(rng: np.random.Generator) -> Lesson:
    """Which way something moved between two frames."""
    case = TASKS["motion"](rng)
    return Lesson(case.scenes, (answer_case(case),))


LESSONS = {
    "shapes": list_shapes,
    "digits": list_digits,
    "counts": list_counts,
    "questions": questions,
    "cases": cases,
    "existence": existence,
    "motion": motion,
    "cells": list_cells,
    "moves": list_moves,
}


def stage_at(step: int) -> Stage:
    """The curriculum's stage at an update; the last one goes on."""
    for stage in CURRICULUM:
        if step < stage.steps:
            return stage
        step -= stage.steps
    return CURRICULUM[-1]


def draw_lesson(step: int, rng: np.random.Generator) -> Lesson:
    """A lesson of the stage that update `step` belongs to."""
    shares = stage_at(step).shares
    kind = str(rng.choice(list(shares), p=list(shares.values())))
    return LESSONS[kind](rng)
