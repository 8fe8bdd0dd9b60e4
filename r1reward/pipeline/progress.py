"""Live output of a running notebook: its lines with the time passed, a headline for every cell."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from typing import TextIO

from r1reward.progress import clock

_CONTROL = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class LiveOutput:
    """A text stream for papermill: passes whole lines on, prefixed, and copies them to a log."""

    def __init__(self, terminal: TextIO, log: TextIO, prefix: str) -> None:
        self._terminal, self._log, self._prefix = terminal, log, prefix
        self._started = time.monotonic()
        self._rest = ""

    @property
    def seconds(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def write(self, text: str) -> int:
        """Pass the finished lines on; `\\r` ends a line as `\\n` does, so that progress is seen."""
        *lines, self._rest = re.split(r"[\r\n]", self._rest + text)
        for line in lines:
            if line.strip():
                self._line(line.rstrip())
        return len(text)

    def flush(self) -> None:
        """Nothing is held back but an unfinished line."""

    def headline(self, text: str) -> None:
        """A line of the runner itself."""
        self.close()
        self._line(text)

    def close(self) -> None:
        """Pass an unfinished line on."""
        rest, self._rest = self._rest, ""
        if rest.strip():
            self._line(rest.rstrip())

    def _line(self, text: str) -> None:
        print(f"[{self._prefix} {clock(self.seconds)}] {text}", file=self._terminal, flush=True)
        print(_CONTROL.sub("", text), file=self._log, flush=True)


def time_left(cell: int, *, elapsed: float, earlier: Sequence[float]) -> float | None:
    """Seconds left at the start of a cell (from 0), judged by an earlier run's seconds a cell.

    The earlier run is scaled by the speed so far once a tenth of it has passed. None without one.
    """
    if cell >= len(earlier):
        return None
    done, left = sum(earlier[:cell]), sum(earlier[cell:])
    return left * (elapsed / done if done > 0.1 * (done + left) else 1.0)
