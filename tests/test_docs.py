"""What the documents tell a reader to write works."""

import re
from pathlib import Path

import pytest

from r1reward.config import load_profile
from r1reward.data.sources import SOURCES
from r1reward.settings.data import SourceName

ROOT = Path(__file__).parents[1]
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


def test_the_settings_know_every_subset_of_table_2() -> None:
    assert tuple(SOURCES) == SourceName.__args__
