"""One line of progress with the time left, for everything that takes more than five seconds."""

from __future__ import annotations

import sys
import time
from typing import TextIO

SECONDS_BETWEEN_LINES = 5.0


class Progress:
    """Called with what is done and the total, prints "judging 1200/3000, 0:12 left".

    On a terminal the line is rewritten in place; elsewhere a new one comes every five seconds.
    """

    def __init__(self, label: str, *, stream: TextIO | None = None) -> None:
        self._label, self._stream = label, stream or sys.stderr
        self._started = self._shown = time.monotonic()
        self._first: int | None = None

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Show the state, unless the last line is younger than five seconds."""
        now = time.monotonic()
        if self._first is None:
            self._first = done
        rewrites = self._stream.isatty()
        if done < total and not rewrites and now - self._shown < SECONDS_BETWEEN_LINES:
            return
        self._shown = now
        fresh = done - self._first
        left = (
            f", {clock((now - self._started) / fresh * (total - done))} left"
            if fresh > 0 and done < total
            else ""
        )
        passed = f", took {clock(now - self._started)}" if done >= total else ""
        line = f"{self._label} {done}/{total}{left}{passed}{', ' + note if note else ''}"
        print(
            f"\r{line:<79}" if rewrites else line,
            end="" if rewrites and done < total else "\n",
            file=self._stream,
            flush=True,
        )


def clock(seconds: float) -> str:
    """Seconds as m:ss or h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}" if minutes >= 60 else f"{minutes}:{rest:02d}"
