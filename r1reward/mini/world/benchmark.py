"""VL-RewardBench of the mini world, in its original schema."""

from __future__ import annotations

from pathlib import Path

from r1reward.mini.world.cases import Writer, spoil
from r1reward.mini.world.sources import write_parquet

TASK_SHARES: dict[str, dict[str, float]] = {
    "hallucination": {"describe": 0.4, "colours_3": 0.3, "colours_2": 0.15, "existence": 0.15},
    "general": {"shape": 0.3, "sign": 0.3, "secret": 0.1, "colours_2": 0.3},
    "reasoning": {"sum": 0.5, "count": 0.3, "digit": 0.2},
}
GROUP_SHARES = {"general": 0.15, "hallucination": 0.6, "reasoning": 0.25}
ID_PREFIXES = {
    "hallucination": ("hallucination_pair-", "RLAIF-V-", "RLHF-V-"),
    "general": ("wildvision-",),
    "reasoning": ("mathverse_", "mmmu_"),
}


def _group_sizes(count: int) -> dict[str, int]:
    """`count` pairs in about the official proportions."""
    sizes = {group: round(count * share) for group, share in GROUP_SHARES.items()}
    sizes["hallucination"] += count - sum(sizes.values())
    return sizes


def write_vl_rewardbench(folder: Path, count: int, writer: Writer) -> None:
    """One parquet file in about the official proportions of the groups."""
    rows, name = [], writer.name
    for group, size in _group_sizes(count).items():
        writer.name = f"{name}_{group}"
        for row, image, png, case, rng in writer.rows(size, TASK_SHARES[group]):
            responses = [case.answer(case.right_values()), spoil(case, rng)]
            flipped = bool(rng.integers(2))
            rows.append(
                {
                    "id": f"{ID_PREFIXES[group][row % len(ID_PREFIXES[group])]}{row}",
                    "query": case.question,
                    "response": responses[::-1] if flipped else responses,
                    "image": {"bytes": png, "path": image},
                    "human_ranking": [1, 0] if flipped else [0, 1],
                    "models": ["mini-a", "mini-b"],
                    "judge": "world truth",
                    "rationale": "",
                    "query_source": case.task,
                    "meta": "{}",
                    "human_error_analysis": [],
                    "ground_truth": "",
                }
            )
    writer.name = name
    write_parquet(folder / "data" / "test-00000-of-00001.parquet", rows)
