"""Many answers of one judge to the pairs of a benchmark, from which all ways of voting are computed."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from r1reward.bench.files import spread
from r1reward.bench.runner import ORDERS, judge_all, rows_of
from r1reward.data.rows import LEFT_OUT
from r1reward.engines import Engine, ForgivingEngine, Sampling, errors_of, identify, load_engine
from r1reward.files import write_atomic
from r1reward.judge.reward_model import judge_samples
from r1reward.progress import Progress
from r1reward.prompts import PromptName, prompt_hash
from r1reward.scoring import MARKS
from r1reward.settings import Profile
from r1reward.types import PreferencePair, Vote

CHUNK_PAIRS = 64


def sample_pool(
    engine: Engine,
    pairs: Sequence[PreferencePair],
    *,
    prompt: PromptName,
    sampling: Sampling,
    work: Path,
    record: Path,
    model: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw `sampling.samples` answers for every pair in both orders and write their compact record.

    A line of the record has the pair's row, group and preferred response, and for each order the verdicts
    as they were printed (1, 2, or u for unparsed), the probability of each answer's digit in thousandths
    (1000 where the engine does not tell) and all tokens together; `not_asked` counts orders that could not be
    asked. See `run_benchmark` for the other
    arguments.
    """
    done, _ = judge_all(
        partial(_sample_chunk, engine, prompt=prompt),
        pairs,
        key={"prompt": prompt_hash(prompt), "model": model},
        sampling=sampling,
        work=work,
        chunk_pairs=CHUNK_PAIRS,
        progress=progress,
    )
    lines = []
    for pair, row in zip(pairs, rows_of(pairs), strict=True):
        both = [done[row, order] for order in ORDERS]
        line = {"row": row, "group": pair.category, "preferred": pair.preferred}
        line |= {name: [one[name] for one in both] for name in ("verdicts", "probabilities")}
        line["tokens"] = [sum(one["tokens"]) for one in both]
        if not_asked := sum("error" in one for one in both):
            line["not_asked"] = not_asked
        line |= {name: pair.meta[name] for name in ("question", LEFT_OUT) if name in pair.meta}
        lines.append(json.dumps(line, separators=(",", ":")) + "\n")
    write_atomic(record, "".join(lines))


def judge_often(
    checkpoint: str | Path,
    pairs: Sequence[PreferencePair],
    *,
    profile: Profile,
    seed: int,
    work: Path,
    record: Path,
) -> None:
    """`sample_pool` of a checkpoint with the settings of a profile (`scaling`)."""
    sampling = Sampling(
        profile.engine.max_new_tokens, profile.bench.sampled_temperature, profile.scaling.samples, seed
    )
    sample_pool(
        load_engine(checkpoint, profile),
        spread(pairs, profile.scaling.pairs),
        prompt=profile.model.prompt,
        sampling=sampling,
        work=work,
        record=record,
        model=identify(checkpoint, profile),
        progress=Progress("judging again and again"),
    )


def _sample_chunk(
    engine: Engine,
    pairs: Sequence[PreferencePair],
    rows: Sequence[int],
    *,
    prompt: PromptName,
    sampling: Sampling,
    progress: Callable[[int, int], None] | None,
) -> list[dict[str, Any]]:
    both = [pair for given in pairs for pair in (given, given.swapped())]
    keys = [(row, order) for row in rows for order in ORDERS]
    # The engine counts answers, the runner judgments.
    report = (lambda count, _: progress(count // sampling.samples, 0)) if progress else None
    found = judge_samples(ForgivingEngine(engine), both, prompt=prompt, sampling=sampling, progress=report)
    return [_line(row, order, votes) for (row, order), votes in zip(keys, found, strict=True)]


def _line(row: int, order: str, votes: Sequence[Vote]) -> dict[str, Any]:
    known = [1.0 if vote.probability is None else vote.probability for vote in votes]
    line = {
        "row": row,
        "order": order,
        "verdicts": "".join(MARKS[vote.verdict] for vote in votes),
        "probabilities": [round(1000 * value) for value in known],
        "tokens": [len(vote.completion.token_ids) for vote in votes],
        "texts": [vote.completion.text for vote in votes],
    }
    errors = errors_of([vote.completion for vote in votes])
    return line | ({"error": errors[0]} if errors else {})
