"""The manifests beside the records: who wrote them, when, on what machine and from which commit."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

from r1reward.files import read_json


def read_manifests(root: Path, *, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """Manifests of the finished notebooks of a run or results folder, by notebook and in order.

    Raises ValueError for one that is damaged or lacks one of the `keys`, and names it.
    """
    files = sorted((root / "manifests").glob("[0-9]*.json"))
    # A notebook that was cut short leaves another kind of file beside them.
    return {file.stem: _read(file, keys) for file in files if not file.name.endswith(".attempt.json")}


def _read(file: Path, keys: Collection[str]) -> dict[str, Any]:
    manifest = read_json(file)
    if not isinstance(manifest, dict):
        raise ValueError(f"{file}: expected a JSON object, got {type(manifest).__name__}")
    if missing := [key for key in keys if key not in manifest]:
        raise ValueError(f"{file}: not a whole manifest: {', '.join(missing)} missing")
    return manifest
