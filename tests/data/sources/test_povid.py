import json
import zipfile
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


def test_several_turns_are_dropped(folder: Callable[[list[Any]], Path], collect: Callable[..., Any]) -> None:
    long = _row(1)
    long["conversations"] = long["conversations"] * 2
    pairs, notes = collect(read, folder([_row(0), long]))
    assert len(pairs) == 1
    assert [(note["kind"], note["reason"]) for note in notes] == [("dropped", "several turns")]


def test_pictures_may_stay_in_the_zip_of_coco(
    folder: Callable[[list[Any]], Path], png: Callable[..., bytes]
) -> None:
    root = folder([_row(7)])
    with zipfile.ZipFile(root / "train2014.zip", "w") as archive:
        archive.writestr("train2014/COCO_train2014_000000000007.jpg", png((9, 9, 9)))
    (pair,) = read(root, cache=root / "cache")
    assert Path(pair.images[0]).read_bytes() == png((9, 9, 9))
    assert pair.meta == {"image": "COCO_train2014_000000000007.jpg"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (_row(1, image="../secret.png"), "picture path '../secret.png' leaves the folder"),
        (_row(1, image="none.jpg"), "picture 'none.jpg' not found"),
        (_row(1, conversations="hello"), "field 'conversations' is not a conversation"),
        (_row(1, conversations=[{"from": "gpt", "value": "a"}] * 2), "does not start with human and gpt"),
        (_row(1, image=None), "field 'image'"),
        ("text", "expected an object"),
    ],
)
def test_faulty_rows_are_refused_and_the_rest_is_kept(
    row: Any, message: str, folder: Callable[[list[Any]], Path], collect: Callable[..., Any]
) -> None:
    pairs, (note,) = collect(read, folder([_row(0), row, _row(2)]))
    assert [pair.pair_id for pair in pairs] == ["povid-000000", "povid-000002"]
    assert note["kind"] == "refused" and note["origin"].endswith("version_1.json, row 2")
    assert message in note["detail"]


@pytest.mark.parametrize("content", ["{}", "[", "", "[] []"])
def test_a_broken_file_is_refused_and_the_others_are_kept(
    content: str, folder: Callable[[list[Any]], Path], collect: Callable[..., Any]
) -> None:
    root = folder([_row(0)])
    (root / "POVID_a.json").write_text(content)
    pairs, (note,) = collect(read, root)
    assert len(pairs) == 1 and note["origin"] == str(root / "POVID_a.json")


def test_the_mini_world_is_read_whole(world: Path) -> None:
    pairs = list(read(world / "povid"))
    assert len(pairs) == 40 and all("<image>" not in pair.question for pair in pairs)
