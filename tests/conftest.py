"""Shared fixtures. Threads are limited before any test imports torch or numpy: workers share the cores."""

import os
from pathlib import Path

_SHARE = max(1, (os.cpu_count() or 1) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = str(min(_SHARE, int(os.environ.get(_name, "2"))))
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
from hypothesis import settings

# A busy machine is slow, which is no fault of what is tested.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
REPOSITORY = Path(__file__).resolve().parent.parent
# Files of minutes. Side by side, the longest must start first; the others follow in their order.
LONGEST = ("test_notebooks.py", "pipeline/test_verify.py", "train/test_kill.py", "report/test_render.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {REPOSITORY / "tests" / name: place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path, len(places)))


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
