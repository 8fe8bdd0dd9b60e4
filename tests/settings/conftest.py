import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent / "train")]

from helpers import write_world
from studio import Studio


@pytest.fixture(scope="session")
def tiny_studio(tmp_path_factory: pytest.TempPathFactory) -> Studio:
    """Shared by all settings, so that a run under the small profile is made once."""
    folder = tmp_path_factory.mktemp("settings")
    return Studio(write_world(folder, num_pairs=8), folder / "runs")
