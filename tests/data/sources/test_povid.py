import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r1reward.data.sources.povid import read


def _row(index: int, **changes: object) -> dict[str, Any]:
    turn = {"from": "human", "value": "<image>\nDescribe it."}
    return {
        "id": f"{index:012d}",
        "image": f"COCO_train2014_{index:012d}.jpg",
        "conversations": [turn, {"from": "gpt", "value": "A cat."}],
        "rejected_conversations": [turn, {"from": "gpt", "value": "A cat and a dog."}],
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path, png: Callable[..., bytes]) -> Callable[[list[Any]], Path]:
    (tmp_path / "images").mkdir()
    for index in range(4):
        (tmp_path / "images" / f"COCO_train2014_{index:012d}.jpg").write_bytes(png())

    def write(rows: list[Any]) -> Path:
        (tmp_path / "POVID_preference_data_for_VLLMs_version_1.json").write_text(json.dumps(rows))
        return tmp_path

    return write


def test_conversations_become_pairs(folder: Callable[[list[Any]], Path]) -> None:
    root = folder([_row(0), _row(1)])
    pairs = list(read(root))
    assert [pair.pair_id for pair in pairs] == ["povid-000000", "povid-000001"]
    assert pairs[0].question == "Describe it."
    assert pairs[0].responses == ("A cat.", "A cat and a dog.") and pairs[0].preferred == 1
    assert pairs[1].images == (str(root / "images" / "COCO_train2014_000000000001.jpg"),)


def test_several_turns_are_dropped_and_counted(folder: Callable[[list[Any]], Path]) -> None:
    long = _row(1)
    long["conversations"] = long["conversations"] * 2
    drops: Counter[str] = Counter()
    assert len(list(read(folder([_row(0), long]), drops=drops))) == 1
    assert drops == {"several turns": 1}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (_row(1, image="../secret.png"), "row 2: picture path '../secret.png' leaves the folder"),
        (_row(1, image="none.jpg"), "row 2: picture 'none.jpg' not found"),
        (_row(1, conversations="hello"), "row 2: field 'conversations' is not a conversation"),
        (
            _row(1, conversations=[{"from": "gpt", "value": "a"}] * 2),
            "row 2: .* does not start with human and gpt",
        ),
        (_row(1, image=None), "row 2: field 'image'"),
        ("text", "row 2: expected an object"),
    ],
)
def test_faults_name_file_and_row(row: Any, message: str, folder: Callable[[list[Any]], Path]) -> None:
    with pytest.raises(ValueError, match=r"version_1\.json, " + message):
        list(read(folder([_row(0), row])))


def test_the_mini_world_is_read_whole(world: Path) -> None:
    pairs = list(read(world / "povid"))
    assert len(pairs) == 40 and all("<image>" not in pair.question for pair in pairs)
