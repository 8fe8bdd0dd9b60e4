"""One checkpoint on one benchmark in every way the reports show: greedy, sampled, picture blanked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from r1reward.bench.runner import run_benchmark
from r1reward.engines import Sampling, identify, load_engine
from r1reward.progress import Progress
from r1reward.scoring import Scores
from r1reward.settings import Profile
from r1reward.types import PreferencePair

Mode = Literal["greedy", "sampled", "blank_greedy"]
MODES: tuple[Mode, ...] = ("greedy", "sampled", "blank_greedy")


def evaluate(
    checkpoint: str | Path,
    pairs: Sequence[PreferencePair],
    *,
    profile: Profile,
    seed: int,
    work: Path,
    record: Path,
    modes: Sequence[Mode] = MODES,
    label: str = "judging",
) -> dict[Mode, Scores]:
    """Judge all pairs in both orders, once a mode; records go to `<record>/<mode>.jsonl`.

    `sampled` draws one answer at `bench.sampled_temperature`; `blank_greedy` shows grey pictures.
    What a killed run has judged is not judged again while the weights are the same.
    """
    engine = load_engine(checkpoint, profile)
    scores: dict[Mode, Scores] = {}
    for mode in modes:
        temperature = profile.bench.sampled_temperature if mode == "sampled" else 0.0
        outcome = run_benchmark(
            engine,
            pairs,
            prompt=profile.model.prompt,
            sampling=Sampling(profile.engine.max_new_tokens, temperature=temperature, seed=seed),
            work=work / mode,
            record=record / f"{mode}.jsonl",
            blank=mode == "blank_greedy",
            unparsed=profile.bench.unparsed,
            model=identify(checkpoint, profile),
            progress=Progress(f"{label}, {mode}"),
        )
        scores[mode] = outcome.scores()
    return scores


def validate(
    checkpoint: str | Path, pairs: Sequence[PreferencePair], *, profile: Profile, seed: int, work: Path
) -> dict[str, Any]:
    """Greedy and sampled accuracy on the validation split, for choosing settings."""
    modes: tuple[Mode, ...] = ("greedy", "sampled")
    scores = evaluate(
        checkpoint, pairs, profile=profile, seed=seed, work=work, record=work, modes=modes, label="validating"
    )
    return {
        "accuracy": scores["greedy"].overall,
        "accuracy_sampled": scores["sampled"].overall,
        "answer_one": scores["greedy"].answer_one,
        "unparsed_share": scores["greedy"].unparsed_share,
        "n": len(pairs),
    }
