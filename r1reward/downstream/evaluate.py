"""A policy on the downstream benchmarks: its answers, what each is worth, and the record of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from r1reward.benchmarks import units_of
from r1reward.data.storage import write_rows
from r1reward.downstream.benchmarks import BENCHMARKS, Benchmark, OpenJudge, Row, read_rows
from r1reward.downstream.questions import Style
from r1reward.engines import (
    Engine,
    EngineError,
    ForgivingEngine,
    NotAsked,
    Sampling,
    errors_of,
    identify,
    load_engine,
)
from r1reward.files import read_json, sha256_file, write_json
from r1reward.progress import Progress
from r1reward.settings import Profile

_LOG = logging.getLogger(__name__)


def style_of(profile: Profile) -> Style:
    """How multiple-choice questions are written out for the models of a profile."""
    return "vlmevalkit" if profile.model.prompt.startswith("paper") else "mini"


def evaluate_policy(
    checkpoint: str | Path,
    folder: Path,
    *,
    profile: Profile,
    work: Path,
    record: Path,
    temperature: float = 0.0,
    draws: int = 1,
    seed: int = 0,
    judge: OpenJudge | None = None,
) -> dict[str, float]:
    """Answer every benchmark that has a file in `folder`; returns the columns of Table 11, in percent.

    Args:
        work: gets the answers' texts; those of the same model to the same file are not asked for again.
        record: gets a line for each row and draw, in `<benchmark>.jsonl`; each says what faulty rows of the
            file are left out, if any, and is marked where its row could not be asked.
        temperature, draws, seed: `draws` answers are drawn to each row, greedy ones at temperature 0.
        judge: scores open questions; without one their benchmarks are left out.
    """
    engine: Engine | None = None
    sampling = Sampling(profile.downstream.max_new_tokens, temperature, draws, seed)
    columns: dict[str, float] = {}
    for benchmark in BENCHMARKS.values():
        path = folder / f"{benchmark.name}.tsv"
        if not path.is_file() or (benchmark.open and judge is None):
            continue
        found = read_rows(path, style=style_of(profile), cache=work / "pictures")
        rows, left_out = found.kept, {"left_out": found.summary} if found.summary else {}
        kept = work / f"{benchmark.name}.json"
        drawn = f"temperature {temperature:g}, seed {seed}, draws {draws}"
        key = {"model": identify(checkpoint, profile), "file": sha256_file(path), "decoding": drawn}
        answers = _kept_answers(kept, key)
        if answers is None:
            engine = engine or load_engine(checkpoint, profile)
            answers = _answer(engine, rows, sampling, Progress(benchmark.name))
            write_json(kept, {**key, "answers": answers})
        lines = [
            {**line, "draw": draw, **left_out}
            for draw, texts in enumerate(zip(*answers, strict=True))
            for line in score_answers(benchmark, rows, texts, judge=judge)
        ]
        if failed := sum("not_asked" in line for line in lines):
            _LOG.warning("%s: %d of %d answers could not be asked for", path, failed, len(lines))
        write_rows(record / f"{benchmark.name}.jsonl", lines)
        columns |= {name: 100 * fmean(units.values()) for name, units in units_of(lines).items()}
    return columns


def score_answers(
    benchmark: Benchmark,
    rows: Sequence[Row],
    answers: Sequence[str | None],
    *,
    judge: OpenJudge | None = None,
) -> list[dict[str, Any]]:
    """A line for each row: its points, its unit in each column, its group, and whether a script scored it.

    A row that could not be asked, of which the answer is None, is worth nothing and says so.
    """
    texts = [answer or "" for answer in answers]
    if benchmark.points is not None:
        points = [benchmark.points(row, text) for row, text in zip(rows, texts, strict=True)]
    elif judge is not None:
        points = judge(benchmark.name, rows, texts)
    else:
        raise ValueError(f"{benchmark.name} has open questions: it needs a judge")
    scripted = {"scripted": True} if benchmark.open and judge and judge.scripted else {}
    return [
        {
            "points": 0.0 if answer is None else round(value, 6),
            "units": benchmark.units(row.fields),
            **benchmark.group(row.fields),
            **scripted,
            **({"not_asked": True} if answer is None else {}),
        }
        for row, answer, value in zip(rows, answers, points, strict=True)
    ]


def _kept_answers(path: Path, key: Mapping[str, str]) -> list[list[str | None]] | None:
    """What was answered before; nothing where a row could not be asked, so that it is asked again."""
    found = read_json(path) if path.is_file() else {}
    same = found and all(found.get(name) == value for name, value in key.items())
    return found["answers"] if same and not any(None in texts for texts in found["answers"]) else None


def _answer(
    engine: Engine, rows: Sequence[Row], sampling: Sampling, progress: Progress
) -> list[list[str | None]]:
    """The texts of each row's answers, None for those of a row that cannot be asked."""
    requests = [row.question.request() for row in rows]
    drawn = ForgivingEngine(engine).generate(requests, sampling, progress=progress)
    errors = errors_of([answers[0] for answers in drawn])
    if errors and len(errors) == len(rows):
        raise EngineError(f"nothing could be asked, for one: {errors[0]}")
    return [[None if isinstance(one, NotAsked) else one.text for one in answers] for answers in drawn]
