"""The scripted judge of open questions: it knows what is in the mini world's pictures.

It stands in for GPT-4, which scores LLaVA-Wild and WildVision; its numbers are labelled `scripted`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from r1reward.downstream.benchmarks import Row
from r1reward.files import read_jsonl
from r1reward.mini.tasks import read_claims
from r1reward.mini.world.downstream import TRUTH


def find_open_judge(folder: Path) -> ScriptedOpenJudge | None:
    """The judge of the benchmarks in a folder, where the truth is beside them."""
    return ScriptedOpenJudge(folder) if (folder / TRUTH).is_file() else None


class ScriptedOpenJudge:
    """Compares what an answer claims with the truth of the picture, which `folder` holds."""

    scripted = True

    def __init__(self, folder: Path) -> None:
        self._truth = {(row["benchmark"], row["index"]): row for row in read_jsonl(folder / TRUTH)}

    def __call__(self, benchmark: str, rows: Sequence[Row], answers: Sequence[str]) -> list[float]:
        """LLaVA-Wild: each score (1 to 10) over the mean score of the reference answers, as in
        `100 * mean(model) / mean(reference)`. WildVision: 1 for an answer better than the other model's.
        """
        truths = [self._truth[benchmark, row.fields["index"]] for row in rows]
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
