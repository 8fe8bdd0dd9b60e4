"""The two training sets that follow from the annotations (paper §3.2).

Cold start: pairs whose annotator reached the true label, with that answer as target. RL: "all samples
from the SFT phase with at least 2 attempts, as well as samples where GPT-4o fails to produce the
correct answer after three attempts".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from r1reward.data.annotate import Annotation
from r1reward.data.build import BuiltData
from r1reward.data.storage import pair_from_row, pair_to_row, write_rows
from r1reward.files import read_jsonl
from r1reward.judge.reward_model import judge_request
from r1reward.prompts import PromptName
from r1reward.types import PreferencePair, Request

MIN_RL_ATTEMPTS = 2


@dataclass(frozen=True, slots=True)
class SFTExample:
    """A pair to be asked about and the whole answer to learn: `<think>…</think><answer>k</answer>`."""

    pair: PreferencePair
    completion: str

    def request(self, prompt: PromptName) -> Request:
        """How the model is asked."""
        return judge_request(self.pair, prompt=prompt)


def select_sft(pairs: Sequence[PreferencePair], annotations: Sequence[Annotation]) -> list[SFTExample]:
    """Pairs whose annotator reached the label, each with the answer that did, in the order of `pairs`."""
    return [
        SFTExample(pair, annotation.answers[-1])
        for pair, annotation in _matched(pairs, annotations)
        if annotation.reached
    ]


def select_rl(pairs: Sequence[PreferencePair], annotations: Sequence[Annotation]) -> list[PreferencePair]:
    """Pairs that took two attempts or more, or failed; `meta` says how many and whether it was reached."""
    return [
        replace(pair, meta={**pair.meta, "attempts": annotation.attempts, "reached": annotation.reached})
        for pair, annotation in _matched(pairs, annotations)
        if annotation.attempts >= MIN_RL_ATTEMPTS or not annotation.reached
    ]


def _matched(
    pairs: Sequence[PreferencePair], annotations: Sequence[Annotation]
) -> list[tuple[PreferencePair, Annotation]]:
    matched = list(zip(pairs, annotations, strict=True))
    for pair, annotation in matched:
        if pair.pair_id != annotation.pair_id:
            raise ValueError(f"pair {pair.pair_id} stands beside the annotation of {annotation.pair_id}")
    return matched


def write_sft(path: str | Path, examples: Iterable[SFTExample]) -> Path:
    """Write cold-start examples as JSON lines, atomically."""
    path = Path(path)
    write_rows(path, ({**pair_to_row(e.pair, path.parent), "completion": e.completion} for e in examples))
    return path


def read_sft(path: str | Path) -> list[SFTExample]:
    """Examples written by `write_sft`; a fault names file and row (ValueError)."""
    path = Path(path)
    examples = []
    for number, row in enumerate(read_jsonl(path), start=1):
        if not isinstance(row.get("completion"), str):
            raise ValueError(f"{path}, row {number}: field 'completion' is missing or not text")
        try:
            examples.append(SFTExample(pair_from_row(row, path.parent), row["completion"]))
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
    return examples


def data_record(
    built: BuiltData,
    annotations: Sequence[Annotation],
    *,
    annotator: str,
    max_attempts: int,
) -> dict[str, Any]:
    """Counts of the data construction, for the run's records (`data.json`)."""
    reached = Counter(str(annotation.attempts) for annotation in annotations if annotation.reached)
    attempts = {str(count): reached[str(count)] for count in range(1, max_attempts + 1)}
    return {
        "sources": {name: dict(counts) for name, counts in built.sources.items()},
        "positions": built.positions,
        "attempts": {**attempts, "failed": sum(not annotation.reached for annotation in annotations)},
        "sft_examples": len(select_sft(built.pairs, annotations)),
        "rl_examples": len(select_rl(built.pairs, annotations)),
        "annotator": annotator,
        "seed": built.seed,
    }
