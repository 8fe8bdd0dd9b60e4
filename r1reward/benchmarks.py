"""The benchmarks: groups of the three for reward models, and the columns of those for a policy (Table 11)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

VL, MULTIMODAL, MM_RLHF = "vl_rewardbench", "multimodal_rewardbench", "mm_rlhf_rewardbench"
TITLES: Mapping[str, str] = {
    MM_RLHF: "MM-RLHF-RewardBench",
    VL: "VL-RewardBench",
    MULTIMODAL: "Multimodal RewardBench",
}
# In the order of the paper's columns. VL-RewardBench is grouped as in its own `cal.py`. Those of Multimodal
# RewardBench are the pairs that can be built; they were not seen in the file itself.
GROUP_COUNTS: Mapping[str, Mapping[str, int]] = {
    VL: {"general": 183, "hallucination": 749, "reasoning": 318},
    MULTIMODAL: {
        "correctness": 623,
        "preference": 654,
        "knowledge": 630,
        "math": 514,
        "coding": 582,
        "safety": 508,
        "vqa": 1200,
    },
    MM_RLHF: {"mcq": 42, "long": 37, "short": 34, "safety": 32, "video": 25},
}
# VL-RewardBench as R1-Reward's released `get_acc.py` groups it.
VL_RELEASED_COUNTS: Mapping[str, int] = {"general": 484, "hallucination": 448, "reasoning": 318}
# Questions of MM-RLHF-RewardBench.
MM_RLHF_QUESTIONS: Mapping[str, int] = {"mcq": 10, "long": 10, "short": 10, "safety": 6, "video": 10}

# The columns of Table 11 with their titles; the last two have open questions, which a judge scores.
DOWNSTREAM_COLUMNS: Mapping[str, str] = {
    "hallucination_bench_aacc": "HallusionBench aAcc",
    "hallucination_bench_facc": "HallusionBench fAcc",
    "hallucination_bench_qacc": "HallusionBench qAcc",
    "mmbench_v1_1": "MMBench v1.1",
    "mme_realworld_lite_perception": "MME-RealWorld-Lite perception",
    "mme_realworld_lite_reasoning": "MME-RealWorld-Lite reasoning",
    "mmstar": "MMStar",
    "v_star": "V*",
    "llava_wild": "LLaVA-Wild",
    "wildvision": "WildVision",
}
OPEN_COLUMNS = ("llava_wild", "wildvision")


def units_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Points of the units of each downstream column: what a unit's worst row is worth, the mean over draws.

    A line has the "points" of an answer to a row, its "units", the unit the row belongs to by column, and the
    "draw", where several answers were drawn. So a question of MMBench counts if it was answered in every
    rotation, and a figure of HallusionBench if all its questions were.
    """
    worst: dict[tuple[str, str], dict[int, float]] = {}
    for line in lines:
        for place in line["units"].items():
            draws, draw = worst.setdefault(place, {}), line.get("draw", 0)
            draws[draw] = min(draws.get(draw, line["points"]), line["points"])
    columns: dict[str, dict[str, float]] = {}
    for (column, unit), draws in worst.items():
        columns.setdefault(column, {})[unit] = fmean(draws.values())
    return columns
