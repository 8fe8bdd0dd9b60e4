"""What the documents tell a reader to write works."""

import re
from pathlib import Path

import pytest

from r1reward.config import load_profile
from r1reward.data.catalogue import CATALOGUE
from r1reward.data.sources import ALL_SOURCES
from r1reward.settings.inputs import SourceName

ROOT = Path(__file__).parents[1]


def _joined(file: Path) -> str:
    """A document's text with continued lines of commands joined."""
    return file.read_text(encoding="utf-8").replace("\\\n", " ")


BLOCKS = [
    pytest.param(block, id=f"{file.name}, {number}")
    for file in sorted(ROOT.glob("docs/*.md"))
    for number, block in enumerate(
        re.findall(r"```toml\n(.*?)```", file.read_text(encoding="utf-8"), re.DOTALL)
    )
]


@pytest.mark.parametrize("block", BLOCKS)
def test_profiles_in_the_documents_are_profiles(block: str, tmp_path: Path) -> None:
    file = tmp_path / "shown.toml"
    file.write_text(block, encoding="utf-8")
    assert load_profile(str(file)).data.root


def test_every_source_that_can_be_fetched_can_be_named_in_a_profile() -> None:
    assert tuple(ALL_SOURCES) == SourceName.__args__


COMMANDS = [
    pytest.param(line, id=f"{file.name}: {line}")
    for file in sorted(ROOT.glob("docs/*.md"))
    for line in re.findall(r"^(?:\.venv/bin/)?r1reward (data fetch .*)", _joined(file), re.MULTILINE)
]


@pytest.mark.parametrize("line", COMMANDS)
def test_what_the_documents_fetch_exists(line: str) -> None:
    names = [word for word in line.partition("#")[0].split()[2:] if not word.startswith("-")]
    assert {word for word in names if not word.endswith(".toml") and word != "FOLDER"} <= set(CATALOGUE)
