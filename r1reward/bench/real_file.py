"""The real 1,250-row text file with photographs standing in for its pictures, which are not part of it.

The score means nothing. The point is that real-size text, Table 1 and large photographs go through
the same loader, prompt, engine, parser and scorer as everything else.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r1reward.bench.runner import run_benchmark
from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.engines import Sampling, load_engine
from r1reward.progress import Progress
from r1reward.prompts import PromptName
from r1reward.settings import Profile

VARIABLE = "R1REWARD_DATA"
TEXT_FILE = "r1_reward/vl_reward_bench_data.jsonl"
PICTURES = "images"
TEMPERATURE, SEED = 1.0, 0


def find_real_file() -> tuple[Path, list[Path]] | None:
    """The text file and the photographs in the folder that R1REWARD_DATA names, or None."""
    folder = Path(os.environ.get(VARIABLE, ""))
    text, photographs = folder / TEXT_FILE, sorted((folder / PICTURES).glob("*.jpg"))
    return (text, photographs) if os.environ.get(VARIABLE) and text.exists() and photographs else None


def run_real_file(
    checkpoint: str | Path,
    source: tuple[Path, Sequence[Path]],
    *,
    profile: Profile,
    prompt: PromptName,
    work: Path,
) -> dict[str, Any]:
    """Judge the first `bench.real_rows` rows in both orders and return a labelled outcome.

    Prompts of thousands of tokens are let through, in smaller batches; answers are sampled and cut after 16
    tokens.
    """
    text, photographs = source
    pairs = load_benchmark(text, stand_in_pictures=list(photographs))[: profile.bench.real_rows]
    settings = profile.engine.model_copy(update={"max_prompt_tokens": 16_384, "batch_size": 8})
    outcome = run_benchmark(
        load_engine(checkpoint, profile.model_copy(update={"engine": settings})),
        pairs,
        prompt=prompt,
        sampling=Sampling(max_new_tokens=16, temperature=TEMPERATURE, seed=SEED),
        work=work,
        record=work / "record.jsonl",
        progress=Progress(f"real file, {prompt} prompt"),
    )
    scores = outcome.scores()
    return {
        "label": f"{outcome.pictures}: the score means nothing",
        "prompt": prompt,
        "decoding": f"sampled, temperature {TEMPERATURE:g}, seed {SEED}",
        "rows": len(pairs),
        "group_sizes": scores.group_sizes,
        "overall": scores.overall,
        "unparsed_share": scores.unparsed_share,
    }
