"""Moving aside what is in the way of something new, under the date; nothing of it is deleted."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

ASIDE = "aside"


def move_aside(folder: Path, moved: Mapping[str, Path]) -> Path:
    """Move files and folders to `folder`/aside/<date>/<name> and return the dated folder.

    On one file system nothing is copied. What does not exist is passed over.
    """
    target = _dated(folder / ASIDE)
    for name, path in moved.items():
        if path.exists() or path.is_symlink():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(path, target / name)
    return target


def _dated(folder: Path) -> Path:
    """A new folder that is called after the time, with a number where several are made in a second."""
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%SZ")
    number = 1
    while True:
        target = folder / (name if number == 1 else f"{name}.{number}")
        try:
            target.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return target
