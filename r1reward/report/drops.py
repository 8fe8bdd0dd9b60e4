"""Drops in accuracy that the paper itself calls slight or minor, from the numbers that it prints.

The overall accuracy of one row is a mean over pairs and that of the next a mean of its groups (Tables 6 and
10), so drops are taken between means of the printed groups.
"""

from __future__ import annotations

from r1reward.benchmarks import GROUP_COUNTS, VL
from r1reward.report.paper import paper_difference, paper_macro_difference

STRONG_ANNOTATOR, WEAK_ANNOTATOR = {"annotator": "GPT-4o"}, {"annotator": "Qwen2.5-VL-7B"}
STRONG_JUDGE = {"judge": "Strong Judge (Qwen2.5-VL-7B, clean)"}
WEAK_JUDGE = {"judge": "Weaker Judge (Qwen2.5-VL-3B, clean)"}


def slight_drop() -> float:
    """What the weaker annotator costs (Table 10): "only a slight performance drop"."""
    return _between_means(10, STRONG_ANNOTATOR, WEAK_ANNOTATOR)


def minor_drop() -> float:
    """What a Pre-CLIP of 5 in place of 10 costs (Table 6): "minor impact"."""
    return _between_means(6, {"clip_ratio": "10.00"}, {"clip_ratio": "5.00"})


def minor_judge_drop() -> float:
    """What the weaker judge costs (Table 13, which prints no groups): "a minor performance drop"."""
    return paper_difference(13, STRONG_JUDGE, WEAK_JUDGE)


def _between_means(number: int, of: dict[str, str], minus: dict[str, str]) -> float:
    return paper_macro_difference(number, of, minus, groups=tuple(GROUP_COUNTS[VL]))
