"""Reads a source and what it left out."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r1reward.data.rows import Quarantine
from r1reward.data.sources import Reader
from r1reward.types import PreferencePair

Collected = tuple[list[PreferencePair], list[dict[str, str]]]


@pytest.fixture
def collect(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Collected]:
    """(pairs, rows of the quarantine) of a folder."""

    def run(read: Reader, folder: Path, **options: Any) -> Collected:
        work = tmp_path_factory.mktemp("collected")
        path = work / "quarantine.jsonl"
        with Quarantine(path) as quarantine:
            pairs = list(read(folder, quarantine=quarantine, **{"cache": work / "cache", **options}))
        return pairs, [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    return run
