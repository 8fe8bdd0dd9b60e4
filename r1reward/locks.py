"""File locks that vanish with their process, however it ends."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

_HELD: dict[str, IO[str]] = {}


class BusyError(RuntimeError):
    """Another process holds the lock; the message names it."""


@contextmanager
def exclusive(path: str | Path, *, wait_seconds: float = 0.0) -> Iterator[None]:
    """Keep other processes away from a file or folder, there already or not, while the block runs.

    The lock is the file `.<name>.lock` beside it. It holds between processes, not between the threads of one,
    and blocks may be nested. Raises BusyError when another process still holds it after `wait_seconds`.
    """
    path = Path(path).resolve()
    lock = path.with_name(f".{path.name}.lock")
    if str(lock) in _HELD:
        yield
        return
    acquire(lock, what=str(path), wait_seconds=wait_seconds)
    try:
        yield
    finally:
        release(lock)


def acquire(path: Path, *, what: str, wait_seconds: float = 0.0) -> None:
    """Take the lock at `path` until `release` or the end of this process.

    Taking a lock that this process holds already is fine. Raises BusyError when another process
    still holds it after `wait_seconds`.
    """
    key = str(path.resolve())
    if key in _HELD:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = path.open("a+", encoding="utf-8")
    deadline = time.monotonic() + wait_seconds
    told = wait_seconds <= 0
    while not _try(stream):
        if not told:
            line = f"waiting up to {wait_seconds:.0f} s for another process to leave {what}"
            print(line, file=sys.stderr, flush=True)
            told = True
        if time.monotonic() >= deadline:
            stream.seek(0)
            owner = stream.read().strip() or "unknown"
            stream.close()
            raise BusyError(f"{what} is in use by another process ({owner})")
        time.sleep(0.1)
    stream.truncate(0)
    stream.write(f"process {os.getpid()} since {time.strftime('%Y-%m-%d %H:%M:%S')}")
    stream.flush()
    _HELD[key] = stream


def release(path: Path) -> None:
    """Give the lock back; nothing happens when this process does not hold it."""
    stream = _HELD.pop(str(path.resolve()), None)
    if stream:
        stream.truncate(0)
        stream.close()


def _try(stream: IO[str]) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
