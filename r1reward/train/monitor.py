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


class Monitor:
    """Shows each row of metrics as it comes. Use it as a context manager.

    Args:
        name: what is running, at the head of the line.
        total: steps of the whole run; `done` of them are behind us.
        folder: where TensorBoard's events go. W&B is used if R1REWARD_WANDB is set.
        shown: keys of the progress line, with the words shown for them.
        quiet: no progress line.
    """

    def __init__(
        self, name: str, *, total: int, done: int, folder: Path, shown: Mapping[str, str], quiet: bool = False
    ) -> None:
        self._progress = None if quiet else Progress(name)
        if self._progress:
            self._progress(done, total)
        self._total, self._shown = total, shown
        self._writer = SummaryWriter(str(folder), purge_step=done + 1)
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
            note = ", ".join(f"{word} {row[key]:.3g}" for key, word in self._shown.items())
            self._progress(step, self._total, note)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()
