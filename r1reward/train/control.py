"""The control of the RL runs: SFT continued for the time that RL took.

Time is the process's own: a clock on the wall would also measure what else the machine was doing.
"""

from __future__ import annotations

from pathlib import Path

from r1reward.files import read_jsonl
from r1reward.settings import SFTSettings


def run_seconds(record: Path) -> float:
    """Processor seconds that the steps of a finished RL run took, by its `metrics.jsonl`."""
    return sum(row["cpu_seconds"] for row in read_jsonl(record / "metrics.jsonl"))


def continued_settings(
    settings: SFTSettings, *, rl_record: Path, sft_record: Path, num_examples: int
) -> SFTSettings:
    """SFT settings over all examples whose run takes as long as an RL run, with its own full schedule.

    The pace is that of the cold start whose metrics are in `sft_record`. The learning rate rises and
    falls over the new run, so the control is not handicapped by a rate that never comes down.
    """
    last = read_jsonl(sft_record / "metrics.jsonl")[-1]
    updates = max(1, round(run_seconds(rl_record) * last["step"] / last["cpu_seconds"]))
    return settings.model_copy(
        update={"epochs": updates * settings.batch_size / num_examples, "max_examples": None}
    )
