import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from r1reward.data.rows import Sifted
from r1reward.data.storage import (
    SFTExample,
    iterate_items,
    pair_of,
    pair_to_row,
    read_pairs,
    read_sft,
    usable_pairs,
    usable_targets,
    write_pairs,
)
from r1reward.pictures import Budget
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
    with pytest.raises(ValueError, match=r"sft\.jsonl, row 1: field 'completion' is int, not str"):
        list(iterate_items(path))


BUDGET = Budget(784, 7056)
PICTURES = {"a": (84, 84), "b": (56, 84), "thin": (1, 201), "long": (4000, 20)}


@pytest.fixture
def pair(tmp_path: Path) -> PreferencePair:
    for name, size in PICTURES.items():
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.png")
    return PreferencePair("p", "s", "what ?", ("red", "blue"), 1, (str(tmp_path / "a.png"),))


def test_each_faulty_row_is_left_out_and_counted(
    pair: PreferencePair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    row = pair_to_row(pair, tmp_path)
    faulty: list[Any] = [
        {**row, "image": "a.png"},
        {**row, "question": "\ud800"},
        {**row, "responses": ["one"]},
        {**row, "preferred": 3},
        {**row, "images": ["gone.png"]},
        {**row, "images": ["thin.png"]},
        {**row, "images": ["long.png"]},
        {**row, "images": [], "frames": ["a.png", "b.png"]},
        {name: value for name, value in row.items() if name != "meta"},
        [row],
    ]
    lines = [json.dumps(row), *map(json.dumps, faulty), "{", json.dumps({**row, "pair_id": "q"})]
    path = tmp_path / "pairs.jsonl"
    path.write_text("\n".join(lines))
    assert [found.pair_id for found in usable_pairs(path, BUDGET).kept] == ["p", "q"]
    assert "11 of 13 rows are faulty and left out, the first: " in caplog.text
    assert f"{path}, row 2: there is no field 'image'" in caplog.text
    counted = usable_pairs(path, BUDGET).left_out
    assert sum(counted.values()) == 11 and counted.items() >= {"picture too narrow": 2, "not JSON": 1}.items()
    path.write_text("\n".join(lines[1:-1]))
    with pytest.raises(ValueError, match=rf"all 11 rows are faulty, the first: {path}, row 1"):
        usable_pairs(path, BUDGET)


def test_sound_files_are_read_as_they_are(
    pair: PreferencePair, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs = [replace(pair, pair_id=str(number), preferred=1 + number % 2) for number in range(5)]
    path = write_pairs(tmp_path / "pairs.jsonl", pairs)
    assert usable_pairs(path, BUDGET).kept == read_pairs(path) == pairs
    examples = [
        SFTExample(one, f"<think>{number}</think><answer>1</answer>") for number, one in enumerate(pairs)
    ]
    path = write_pairs(tmp_path / "sft.jsonl", examples)
    assert usable_targets(path, BUDGET) == Sifted(examples) and usable_pairs(path, BUDGET).kept == pairs
    assert not caplog.text
    assert usable_pairs(write_pairs(tmp_path / "empty.jsonl", []), BUDGET) == Sifted([])


@pytest.mark.parametrize("read", [usable_pairs, usable_targets])
def test_a_picture_outside_the_budget_costs_its_row_whoever_reads(
    read: Callable[..., Sifted[Any]], pair: PreferencePair, tmp_path: Path
) -> None:
    long = replace(pair, pair_id="long", images=(*pair.images, str(tmp_path / "long.png")))
    examples = [SFTExample(one, "<think>t</think><answer>1</answer>") for one in (pair, long)]
    path = write_pairs(tmp_path / "sft.jsonl", examples)
    assert [pair_of(item).pair_id for item in read(path, BUDGET).kept] == ["p"]
    assert len(read(path).kept) == 2, "without a budget nobody asks"


def test_an_example_needs_its_answer(pair: PreferencePair, tmp_path: Path) -> None:
    row = pair_to_row(pair, tmp_path)
    path = tmp_path / "sft.jsonl"
    right = "<think>so</think><answer>1</answer>"
    answers = [{}, {"completion": 3}, {"completion": "\udc00"}, {"completion": right}]
    path.write_text("\n".join(json.dumps({**row, **answer}) for answer in answers))
    assert [example.completion for example in usable_targets(path).kept] == [right]


def test_damaged_bytes_cost_the_rows_they_are_in(pair: PreferencePair, tmp_path: Path) -> None:
    path, rng = tmp_path / "pairs.jsonl", random.Random(0)
    whole = [json.dumps(pair_to_row(replace(pair, pair_id=str(n)), tmp_path)).encode() for n in range(30)]
    for _ in range(30):
        lines, hit = list(whole), rng.randrange(1, 30)
        place = rng.randrange(len(lines[hit]))
        lines[hit] = lines[hit][:place] + bytes([rng.choice([0, 34, 123, 255])]) + lines[hit][place + 1 :]
        path.write_bytes(b"\n".join(lines))
        found = [one.pair_id for one in usable_pairs(path, BUDGET).kept]
        assert len(found) >= 29 and len({str(n) for n in range(30) if n != hit} & set(found)) == 29
