"""Servers that say what a test wants them to say."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from raw_server import RawServer

from r1reward.servers.client import ServerClient
from r1reward.settings import EngineServerSettings

KEY, KEY_VARIABLE = "sk/test+0123456789-abcdef", "R1REWARD_TEST_KEY"


@pytest.fixture
def raw_server() -> Iterator[RawServer]:
    """A server that answers with whatever bytes it is told to."""
    with RawServer() as running:
        yield running


@pytest.fixture
def make_client(raw_server: RawServer, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ServerClient]:
    """Makes a client of that server which waits for nothing; settings are laid over those of the test."""
    monkeypatch.setenv(KEY_VARIABLE, KEY)

    def make(log: Path | None = None, **changes: Any) -> ServerClient:
        values = {"model": "m", "base_url": raw_server.url, "key_variable": KEY_VARIABLE, "max_retries": 2}
        settings = EngineServerSettings(**{**values, **changes})
        return ServerClient(settings, section="engine.openai", log=log, sleep=lambda _: None)

    return make
