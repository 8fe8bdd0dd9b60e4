"""What the task files of this folder call. A document is a row of a file by `data.storage.write_pairs`.

lmms-eval loads this file by its path, and is started in the folder of the rows: pictures are relative to it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from PIL import Image

from r1reward.parsing import parse_verdict
from r1reward.pictures import read_picture
from r1reward.prompts import judge_prompt
from r1reward.types import Comparison, Verdict


def both_orders(docs: Any) -> Any:
    """Every pair twice: in the file's order and with the responses exchanged (a `datasets` map)."""
    return docs.map(_twice, batched=True)


def _twice(batch: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    doubled = {name: [value for value in values for _ in range(2)] for name, values in batch.items()}
    for place in range(1, len(doubled["responses"]), 2):
        doubled["responses"][place] = doubled["responses"][place][::-1]
        doubled["preferred"][place] = 3 - doubled["preferred"][place]
    return doubled


def doc_to_visual(doc: Mapping[str, Any]) -> list[Image.Image]:
    """The pictures, or the frames of a video in order."""
    return [read_picture(path) for path in (*doc["images"], *doc["frames"])]


def doc_to_text(doc: Mapping[str, Any], lmms_eval_specific_kwargs: Any = None) -> str:
    """The prompt of Table 1."""
    first, second = doc["responses"]
    return judge_prompt(Comparison(doc["question"], (first, second)), name="paper")


def doc_to_target(doc: Mapping[str, Any]) -> str:
    """The number of the better response."""
    return str(doc["preferred"])


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, float | dict[str, Any]]:
    """Accuracy, the share without a verdict, and what the macro average needs; no verdict is wrong."""
    verdict = parse_verdict(results[0])
    right = float(verdict.agrees_with(doc["preferred"]))
    return {
        "accuracy": right,
        "unparsed": float(verdict is Verdict.UNPARSED),
        "macro_accuracy": {"group": doc["category"], "right": right},
    }


def macro(results: Sequence[Mapping[str, Any]]) -> float:
    """The mean of the groups' accuracies."""
    groups: dict[str, list[float]] = {}
    for one in results:
        groups.setdefault(one["group"], []).append(one["right"])
    return sum(sum(values) / len(values) for values in groups.values()) / len(groups)
