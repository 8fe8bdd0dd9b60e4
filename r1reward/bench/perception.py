"""What the base model sees: single questions about held-out scenes, with confusion matrices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from r1reward.engines import Engine, Sampling
from r1reward.mini.scene import COLOUR_NAMES, SHAPES, Split, render
from r1reward.mini.tasks import DIRECTIONS, NUMBERS, TASKS, Case, read_claims
from r1reward.stats import share_interval
from r1reward.types import Request

OTHER = "other"


@dataclass(frozen=True, slots=True)
class Skill:
    """A skill of the base model: the tasks that test it and the answers they can have."""

    tasks: tuple[str, ...]
    labels: tuple[str, ...]


SKILLS = {
    "attributes": Skill(("colour", "shape"), COLOUR_NAMES + SHAPES),
    "existence": Skill(("existence",), ("yes", "no")),
    "digits": Skill(("digit",), NUMBERS),
    "counts": Skill(("count",), NUMBERS[1:7]),
    "sums": Skill(("sum",), tuple(str(total) for total in range(19))),
    "multi_object": Skill(("colours_2", "colours_3"), COLOUR_NAMES),
    "video": Skill(("motion",), tuple(DIRECTIONS)),
    "refusal": Skill(("sign", "secret"), (*NUMBERS, "secret")),
}


def _claims(task: str, text: str, length: int) -> list[str]:
    worked_out = task in ("sum", "motion")
    claims = text.rstrip(" .").split()[-1:] if worked_out else read_claims(task, text)
    return (claims + [OTHER] * length)[:length]


def _draw(
    skill: Skill, count: int, seed: int, split: Split, folder: Path
) -> tuple[list[Case], list[Request]]:
    cases, requests = [], []
    for index in range(count):
        rng = np.random.default_rng([seed, index])
        case = TASKS[skill.tasks[index % len(skill.tasks)]](rng)
        paths = []
        look = int(rng.integers(2**31))
        for frame, scene in enumerate(case.scenes):
            path = folder / f"{case.task}_{index:05d}_{frame}.png"
            render(scene, np.random.default_rng(look), split).save(path)
            paths.append(str(path))
        video = len(paths) > 1
        cases.append(case)
        requests.append(
            Request(
                case.question,
                () if video else tuple(paths),
                tuple(paths) if video else (),
                origin=f"{case.task} {index}",
            )
        )
    return cases, requests


def _confusion(pairs: list[tuple[str, str]], labels: tuple[str, ...]) -> list[list[int]]:
    """Rows are the truth in the order of `labels`; the last column counts every other answer."""
    columns = (*labels, OTHER)
    matrix = np.zeros((len(labels), len(columns)), int)
    for truth, said in pairs:
        matrix[labels.index(truth), columns.index(said if said in labels else OTHER)] += 1
    return matrix.tolist()


def measure_perception(
    engine: Engine,
    folder: Path,
    *,
    cases: int,
    seed: int,
    split: Split = "test",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, dict[str, object]]:
    """Greedy answers to `cases` questions a skill about unseen scenes.

    Returns, for each skill, accuracy (whole answer right), n, Wilson interval, labels and confusion
    counts of single values. Pictures are written to `folder`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results: dict[str, dict[str, object]] = {}
    for number, (name, skill) in enumerate(SKILLS.items()):
        drawn, requests = _draw(skill, cases, seed * 100 + number, split, folder)
        outputs = engine.generate(requests, Sampling(max_new_tokens=48, temperature=0.0))
        right, pairs = 0, []
        for case, (completion,) in zip(drawn, outputs, strict=True):
            truth = case.right_values()
            said = _claims(case.task, completion.text, len(truth))
            right += said == truth
            pairs += zip(truth, said, strict=True)
        results[name] = {
            "accuracy": right / cases,
            "n": cases,
            "interval": list(share_interval(right, cases, method="wilson")),
            "labels": list(skill.labels),
            "confusion": _confusion(pairs, skill.labels),
        }
        if progress:
            progress(number + 1, len(SKILLS))
    return results
