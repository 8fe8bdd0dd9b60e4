"""One bad row of a training file costs that row; what is left is what would be there without it."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from r1reward.data.cold_start import SFTExample, write_sft
from r1reward.data.items import pair_of
from r1reward.data.sifting import Sifted
from r1reward.data.storage import pair_to_row, read_pairs, write_pairs
from r1reward.data.usable import usable_pairs, usable_targets
from r1reward.pictures import Budget
from r1reward.types import PreferencePair

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
    path = write_sft(tmp_path / "sft.jsonl", examples)
    assert usable_targets(path, BUDGET) == Sifted(examples) and usable_pairs(path, BUDGET).kept == pairs
    assert not caplog.text
    assert usable_pairs(write_pairs(tmp_path / "empty.jsonl", []), BUDGET) == Sifted([])


@pytest.mark.parametrize("read", [usable_pairs, usable_targets])
def test_a_picture_outside_the_budget_costs_its_row_whoever_reads(
    read: Callable[..., Sifted[Any]], pair: PreferencePair, tmp_path: Path
) -> None:
    long = replace(pair, pair_id="long", images=(*pair.images, str(tmp_path / "long.png")))
    examples = [SFTExample(one, "<think>t</think><answer>1</answer>") for one in (pair, long)]
    path = write_sft(tmp_path / "sft.jsonl", examples)
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
