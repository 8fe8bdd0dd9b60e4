"""What a person sees of a training run: a line with the time left, TensorBoard, and W&B by a switch."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

from torch.utils.tensorboard.writer import SummaryWriter

from r1reward.progress import Progress

WANDB_SWITCH = "R1REWARD_WANDB"
SHOWN = {"loss": "loss", "reward": "reward", "accuracy": "accuracy", "response_length": "length"}


class Monitor:
    """Shows each row of metrics as it comes. Use it as a context manager.

    Args:
        name: what is running, at the head of the line.
        total: steps of the whole run.
        step: the last step that is done; TensorBoard forgets what came after it.
        folder: where TensorBoard's events go. W&B is used if R1REWARD_WANDB is set.
        quiet: no progress line.
    """

    def __init__(self, name: str, *, total: int, step: int, folder: Path, quiet: bool = False) -> None:
        self._progress = None if quiet else Progress(name)
        self._total = total
        self._writer = SummaryWriter(str(folder), purge_step=step + 1)
        self._wandb: Any = None
        if os.environ.get(WANDB_SWITCH):
            self._wandb = import_module("wandb").init(project="r1reward", name=name, dir=str(folder))

    def __enter__(self) -> Monitor:
        return self

    def show(self, row: Mapping[str, float]) -> None:
        """One finished step; `row` has `step` and the metrics."""
        step = int(row["step"])
        values = {key: value for key, value in row.items() if key != "step"}
        for key, value in values.items():
            self._writer.add_scalar(key, value, step)
        if self._wandb is not None:
            self._wandb.log(values, step=step)
        if self._progress:
            note = ", ".join(f"{word} {row[key]:.3g}" for key, word in SHOWN.items() if key in row)
            self._progress(step, self._total, note)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()
