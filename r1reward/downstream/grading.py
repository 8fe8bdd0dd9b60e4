"""A policy on the downstream benchmarks: its answers, what each is worth, and the record of it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from r1reward.benchmarks import units_of
from r1reward.data.storage import write_rows
from r1reward.downstream.questions import Style
from r1reward.downstream.vlm_benchmarks import BENCHMARKS, Benchmark, Row, read_rows
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
from r1reward.files import read_json, read_jsonl, sha256_file, write_json
from r1reward.mini.tasks import read_claims
from r1reward.mini.world.downstream import TRUTH
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
) -> dict[str, float]:
    """Answer every benchmark that has a file in `folder`; returns the columns of Table 11, in percent.

    Args:
        work: gets the answers' texts; those of the same model to the same file are not asked for again.
        record: gets a line for each row and draw, in `<benchmark>.jsonl`; each says what faulty rows of the
            file are left out, if any, and is marked where its row could not be asked.
        temperature, draws, seed: `draws` answers are drawn to each row, greedy ones at temperature 0.

    Open questions are scored by a script, which knows what is in the mini world's pictures; where the truth
    does not lie in `folder`, their benchmarks are left out.
    """
    engine: Engine | None = None
    sampling = Sampling(profile.downstream.max_new_tokens, temperature, draws, seed)
    columns: dict[str, float] = {}
    for benchmark in BENCHMARKS.values():
        path = folder / f"{benchmark.name}.tsv"
        if not path.is_file() or (benchmark.open and not (folder / TRUTH).is_file()):
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
            for line in score_answers(benchmark, rows, texts, folder=folder)
        ]
        if failed := sum("not_asked" in line for line in lines):
            _LOG.warning("%s: %d of %d answers could not be asked for", path, failed, len(lines))
        write_rows(record / f"{benchmark.name}.jsonl", lines)
        columns |= {name: 100 * fmean(units.values()) for name, units in units_of(lines).items()}
    return columns


def score_answers(
    benchmark: Benchmark, rows: Sequence[Row], answers: Sequence[str | None], *, folder: Path
) -> list[dict[str, Any]]:
    """A line for each row: its points, its unit in each column, its group, and whether a script scored it.

    A row that could not be asked, of which the answer is None, is worth nothing and says so. `folder` holds
    the truth about open questions.
    """
    texts = [answer or "" for answer in answers]
    if benchmark.points is not None:
        points = [benchmark.points(row, text) for row, text in zip(rows, texts, strict=True)]
    else:
        points = scripted_points(benchmark.name, rows, texts, folder=folder)
    scripted = {"scripted": True} if benchmark.open else {}
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


def scripted_points(
    benchmark: str, rows: Sequence[Row], answers: Sequence[str], *, folder: Path
) -> list[float]:
    """Points of answers to open questions, by the truth of the pictures in `folder`; it stands in for GPT-4.

    LLaVA-Wild: each score (1 to 10) over the mean score of the reference answers, as in
    `100 * mean(model) / mean(reference)`. WildVision: 1 for an answer better than the other model's.
    """
    known = {(row["benchmark"], row["index"]): row for row in read_jsonl(folder / TRUTH)}
    truths = [known[benchmark, row.fields["index"]] for row in rows]
    shares = [claim_share(truth, answer) for truth, answer in zip(truths, answers, strict=True)]
    other = "claude3_sonnet" if benchmark == "WildVision" else "gpt4_ans"
    others = [claim_share(truth, row.fields[other]) for truth, row in zip(truths, rows, strict=True)]
    if benchmark == "WildVision":
        return [float(one > two) for one, two in zip(shares, others, strict=True)]
    reference = fmean(1 + 9 * share for share in others)
    return [(1 + 9 * share) / reference for share in shares]


def claim_share(truth: Mapping[str, Any], text: str) -> float:
    """The right claims of a response, as a share of those it makes or those it should make, the larger."""
    if truth["task"] == "describe":
        wanted = {
            f"{value} {subject}" for subject, value in zip(truth["subjects"], truth["values"], strict=True)
        }
        found = set(re.findall(r"an? (\w+ \w+)", text))
        return len(wanted & found) / max(len(wanted), len(found))
    claims, values = read_claims(truth["task"], text), truth["values"]
    right = sum(claim == value for claim, value in zip(claims, values, strict=False))
    return right / max(len(values), len(claims))
