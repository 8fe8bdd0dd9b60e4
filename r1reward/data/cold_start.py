"""The two training sets that follow from the annotations (paper §3.2).

Cold start: pairs whose annotator reached the true label, with that answer as target. RL: "all samples
from the SFT phase with at least 2 attempts, as well as samples where GPT-4o fails to produce the
correct answer after three attempts". Pairs that were released as RL data are RL data without having been
annotated, and nothing else: an annotation without an answer stands for them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from r1reward.data.annotate import Annotation
from r1reward.data.build import CARD, BuiltData
from r1reward.data.card import render_card
from r1reward.data.sources import RELEASED_FOR_RL
from r1reward.data.storage import pair_from_row, pair_to_row, parse_rows, write_rows
from r1reward.files import write_atomic, write_json
from r1reward.judge.reward_model import judge_request
from r1reward.parsing import extract_reasoning, follows_format
from r1reward.prompts import PromptName
from r1reward.types import PreferencePair, Request

MIN_RL_ATTEMPTS = 2
_SPACED = re.compile(r"\s*<think>(.*)</think>\s*<answer>\s*([12])\s*</answer>\s*", re.DOTALL)
TREATMENTS = ("as written", "normalised", "refused")


@dataclass(frozen=True, slots=True)
class SFTExample:
    """A pair to be asked about and the whole answer to learn: `<think>…</think><answer>k</answer>`."""

    pair: PreferencePair
    completion: str

    def request(self, prompt: PromptName) -> Request:
        """How the model is asked."""
        return judge_request(self.pair, prompt=prompt)


def select_sft(pairs: Iterable[PreferencePair], annotations: Iterable[Annotation]) -> Iterator[SFTExample]:
    """Pairs whose annotator reached the label, each with the answer that did, in the order of `pairs`.

    Answers that `target_of` refuses are left out; `data_record` counts them.
    """
    for pair, annotation in _matched(pairs, annotations):
        if annotation.reached and (target := target_of(annotation.answers[-1])):
            yield SFTExample(pair, target)


def target_of(answer: str) -> str | None:
    """An answer as the cold start teaches it: reasoning, and what the format reward accepts (paper §3.2).

    White space between and around the blocks is taken out where it is all that is wrong. None for any other
    answer that the reward rejects, and for one without reasoning.
    """
    if not extract_reasoning(answer):
        return None
    if follows_format(answer):
        return answer
    parts = _SPACED.fullmatch(answer)
    target = f"<think>{parts[1].strip()}</think><answer>{parts[2]}</answer>" if parts else ""
    return target if follows_format(target) else None


def select_rl(pairs: Iterable[PreferencePair], annotations: Iterable[Annotation]) -> Iterator[PreferencePair]:
    """Pairs that took two attempts or more, or failed; `meta` says how many and whether it was reached.

    Of pairs released as RL data nothing is known, and nothing said.
    """
    for pair, annotation in _matched(pairs, annotations):
        if not annotation.answers:
            yield pair
        elif _is_rl_data(annotation):
            outcome = {"attempts": annotation.attempts, "reached": annotation.reached}
            yield replace(pair, meta={**pair.meta, **outcome})


def select_easy(
    pairs: Iterable[PreferencePair], annotations: Iterable[Annotation], *, count: int, seed: int
) -> list[PreferencePair]:
    """`count` pairs drawn from those that the annotator got right at once: RL data of no difficulty."""
    easy = [pair for pair, annotation in _matched(pairs, annotations) if not _is_rl_data(annotation)]
    order = np.random.default_rng([seed, len(easy)]).permutation(len(easy))
    return [easy[index] for index in sorted(order[:count].tolist())]


def _is_rl_data(annotation: Annotation) -> bool:
    return annotation.attempts >= MIN_RL_ATTEMPTS or not annotation.reached


def _matched(
    pairs: Iterable[PreferencePair], annotations: Iterable[Annotation]
) -> Iterator[tuple[PreferencePair, Annotation]]:
    """Pairs beside their annotations, read one by one; other orders or lengths are a ValueError.

    Pairs without an answer are left out: whether they are difficult is not known.
    """
    found = iter(annotations)
    for pair in pairs:
        if pair.source in RELEASED_FOR_RL:
            yield pair, Annotation(pair.pair_id, (), reached=False)
            continue
        annotation = next(found, None)
        if annotation is None or pair.pair_id != annotation.pair_id:
            other = f"the annotation of {annotation.pair_id}" if annotation else "no annotation"
            raise ValueError(f"pair {pair.pair_id} stands beside {other}")
        if not annotation.unanswered:
            yield pair, annotation
    if (left := next(found, None)) is not None:
        raise ValueError(f"the annotation of {left.pair_id} stands beside no pair")


def write_sft(path: str | Path, examples: Iterable[SFTExample]) -> Path:
    """Write cold-start examples as JSON lines, atomically."""
    path = Path(path)
    write_rows(path, ({**pair_to_row(e.pair, path.parent), "completion": e.completion} for e in examples))
    return path


def read_sft(path: str | Path) -> list[SFTExample]:
    """All examples written by `write_sft`; a fault names file and row (ValueError)."""
    return list(iterate_sft(path))


def iterate_sft(path: str | Path) -> Iterator[SFTExample]:
    """The examples of `read_sft`, one in memory at a time."""
    path = Path(path)
    return parse_rows(path, lambda row: example_from_row(row, path.parent))


def example_from_row(row: Mapping[str, Any], folder: Path) -> SFTExample:
    """The example of a JSON object from a file in `folder`; a missing or wrong field is a ValueError."""
    if not isinstance(row.get("completion"), str):
        raise ValueError("field 'completion' is missing or not text")
    return SFTExample(pair_from_row(row, folder), row["completion"])


def require_examples(path: str | Path) -> None:
    """Raise ValueError where a file holds no cold-start example, with what a cold start needs."""
    if next(iterate_sft(path), None) is None:
        raise ValueError(
            f"{path} holds no example, and a cold start learns from annotated pairs: name a source of "
            "Table 2 in data.sources, or give rl.jsonl and a model that can judge to `r1reward launch rl`"
        )


def data_record(
    built: BuiltData,
    annotations: Sequence[Annotation],
    *,
    annotator: str,
    max_attempts: int,
) -> dict[str, Any]:
    """Counts of the data construction, for the run's records (`data.json`).

    `targets` says what became of the answers that reached the label, see `target_of`; `unanswered` pairs are
    in no other count of the annotation. `original` and `sampled` of a source are the columns of the paper's
    Table 2.
    """
    counts: dict[str, Counter[str]] = {name: Counter() for name in built.sources}
    targets, num_rl = Counter[str](), 0
    for pair, annotation in _matched(built, annotations):
        if annotation.answers:
            counts[pair.source][str(annotation.attempts) if annotation.reached else "failed"] += 1
        if annotation.reached:
            targets[_treatment(annotation.answers[-1])] += 1
        num_rl += _is_rl_data(annotation)
    outcomes = [*map(str, range(1, max_attempts + 1)), "failed"]
    return {
        "sources": {
            name: {
                "original": found["read"],
                **found,
                "attempts": {key: counts[name][key] for key in outcomes},
            }
            for name, found in built.sources.items()
        },
        "positions": dict(built.positions),
        "attempts": {key: sum(found[key] for found in counts.values()) for key in outcomes},
        "unanswered": sum(annotation.unanswered for annotation in annotations),
        "targets": {name: targets[name] for name in TREATMENTS},
        "sft_examples": targets.total() - targets["refused"],
        "rl_examples": num_rl,
        "annotator": annotator,
        "seed": built.card["seed"],
    }


def _treatment(answer: str) -> str:
    target = target_of(answer)
    return "refused" if target is None else "as written" if target == answer else "normalised"


def add_to_card(built: BuiltData, targets: Mapping[str, int]) -> None:
    """Write the `targets` of `data_record` into the data card of a build."""
    card, file = {**built.card, "targets": dict(targets)}, built.path.with_name(CARD)
    write_atomic(file.with_suffix(".md"), render_card(card))
    write_json(file, card)
