"""Small pictures, and a small world read by the real loaders."""

import io
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))

from fault_server import KEY, KEY_VARIABLE, FaultServer

from r1reward.mini.world import write_world
from r1reward.settings import WorldSettings


@pytest.fixture(scope="session")
def png() -> Callable[..., bytes]:
    """Makes the bytes of a PNG of one colour."""

    def make(colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (28, 28), colour).save(buffer, "PNG")
        return buffer.getvalue()

    return make


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A mini world of 40 rows a source."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, WorldSettings(pairs_per_source=40, benchmark_pairs=30, validation_pairs=12), seed=0)
    return folder


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    """A server that answers well until it is told otherwise; the key it wants is in the environment."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with FaultServer() as running:
        yield running
