import json
from dataclasses import replace
from pathlib import Path

import pytest

from r1reward.data.cold_start import read_sft
from r1reward.data.items import iterate_items
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


WRONG = {
    "preferred": [3, True, "1", None],
    "responses": [["only one"], ["a", "b", "c"], 5, ["a", 2], {"a": 1, "b": 2}, None],
    "question": [5, None, ["q"]],
    "pair_id": [7, None],
    "images": ["a.png", [5], None, {}],
    "frames": [None, [None]],
    "category": [None],
    "origin": [1],
    "meta": [[], None, "text"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in WRONG.items() for value in values]
)
def test_a_wrong_field_is_named_with_file_and_row(name: str, value: object, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", [_pair(tmp_path)] * 2)
    first, second = path.read_text(encoding="utf-8").strip().split("\n")
    path.write_text(f"{first}\n{json.dumps(json.loads(second) | {name: value})}\n", encoding="utf-8")
    for read in (read_pairs, lambda path: list(iterate_items(path))):
        with pytest.raises(ValueError, match=rf"pairs\.jsonl, row 2: .*{name}"):
            read(path)


@pytest.mark.parametrize("name", list(WRONG))
def test_a_missing_field_is_named_with_file_and_row(name: str, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", [_pair(tmp_path)])
    row = json.loads(path.read_text(encoding="utf-8"))
    del row[name]
    path.write_text(json.dumps(row) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=rf"pairs\.jsonl, row 1: field '{name}' is missing"):
        read_pairs(path)


@pytest.mark.parametrize(
    "line",
    ["[" * 100_000, '{"meta": ' * 100_000, '"text"', "\ud800".encode("utf-8", "surrogatepass"), b"\xff\xfe"],
)
def test_a_line_that_is_no_pair_is_named(line: str | bytes, tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", [_pair(tmp_path)])
    path.write_bytes(path.read_bytes() + (line if isinstance(line, bytes) else line.encode()) + b"\n")
    with pytest.raises(ValueError, match=r"pairs\.jsonl, row 2"):
        read_pairs(path)


def test_rows_are_counted_as_an_editor_counts_lines(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "pairs.jsonl", [_pair(tmp_path)])
    path.write_text(path.read_text(encoding="utf-8") + "\n\n{}\n", encoding="utf-8")
    for read in (read_pairs, read_sft, lambda path: list(iterate_items(path))):
        with pytest.raises(ValueError, match=r"pairs\.jsonl, row (4|1): field"):
            read(path)
    with pytest.raises(ValueError, match=r"pairs\.jsonl, row 4: field 'responses' is missing"):
        read_pairs(path)


def test_a_completion_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = write_pairs(tmp_path / "sft.jsonl", [_pair(tmp_path)])
    row = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**row, "completion": 5}) + "\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"sft\.jsonl, row 1: field 'completion' is not text"):
        list(iterate_items(path))
