"""The three reward benchmarks: their names, and the groups of each with its number of pairs."""

from __future__ import annotations

from collections.abc import Mapping

VL, MULTIMODAL, MM_RLHF = "vl_rewardbench", "multimodal_rewardbench", "mm_rlhf_rewardbench"
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
