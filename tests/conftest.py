"""Shared fixtures. Threads are limited before any test imports torch or numpy."""

import os
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_name, str(min(2, os.cpu_count() or 1)))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """Root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of the real benchmark files and photographs, named by R1REWARD_DATA."""
    return _folder_of("R1REWARD_DATA")


@pytest.fixture(scope="session")
def paper_text() -> str:
    """Plain text of the paper, from the file named by R1REWARD_PAPER."""
    return _folder_of("R1REWARD_PAPER").read_text(encoding="utf-8")


def _folder_of(variable: str) -> Path:
    value = os.environ.get(variable)
    if not value:
        pytest.skip(f"{variable} is not set")
    path = Path(value)
    if not path.exists():
        pytest.skip(f"{variable} names {value}, which does not exist")
    return path
