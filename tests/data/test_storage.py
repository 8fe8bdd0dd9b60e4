import json
from dataclasses import replace
from pathlib import Path

import pytest

from r1reward.data.storage import read_pairs, write_pairs
from r1reward.types import PreferencePair


def _pair(folder: Path) -> PreferencePair:
    return PreferencePair(
        pair_id="a-1",
        source="a",
        question="Größe ?\n{x}",
        responses=("one", "two\u2028lines"),
        preferred=2,
        images=(str(folder / "pictures" / "a.png"),),
        frames=(str(folder / "f0.png"), str(folder / "f1.png")),
        category="general",
        origin="a.json, row 1",
        meta={"row": 1},
    )


def test_pairs_survive_the_file(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "deep" / "pairs.jsonl", [_pair(tmp_path), _pair(tmp_path).swapped()])
    assert read_pairs(path) == [_pair(tmp_path), _pair(tmp_path).swapped()]


def test_a_moved_folder_still_finds_its_pictures(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    write_pairs(old / "pairs.jsonl", [_pair(old)])
    old.rename(new)
    assert read_pairs(new / "pairs.jsonl") == [_pair(new)]


def test_the_same_data_has_the_same_bytes_wherever_it_lies(tmp_path: Path) -> None:
    files = []
    for folder in (tmp_path / "here", tmp_path / "there"):
        pair = replace(_pair(folder), origin=f"{folder / 'world' / 'a.json'}, row 1")
        files.append(write_pairs(folder / "made" / "pairs.jsonl", [pair]))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert read_pairs(files[0])[0].origin == "../world/a.json, row 1"


def test_an_origin_far_away_keeps_its_path(tmp_path: Path) -> None:
    far = replace(_pair(tmp_path), origin="/far/away/a.json, row 1")
    assert read_pairs(write_pairs(tmp_path / "pairs.jsonl", [far]))[0].origin == far.origin


@pytest.mark.parametrize(
    "change", [{"preferred": 3}, {"responses": ["only one"]}, {"question": None, "drop": True}]
)
def test_faults_name_file_and_row(change: dict[str, object], tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", [_pair(tmp_path)] * 2)
    first, second = path.read_text(encoding="utf-8").strip().split("\n")
    row = json.loads(second) | change
    if change.get("drop"):
        del row["question"]
    path.write_text(first + "\n" + json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"pairs\.jsonl, row 2"):
        read_pairs(path)
