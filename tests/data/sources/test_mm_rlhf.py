import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r1reward.data.sources import OTHER_SOURCES, SOURCES
from r1reward.data.sources.pictures import MAX_FRAMES

SUBSETS = ("long", "short", "mcq", "safety")
READ = {name: SOURCES[f"mm_rlhf_{name}"].read for name in SUBSETS} | {
    "video": OTHER_SOURCES["mm_rlhf_video"].read
}


def _row(path: str, **changes: Any) -> dict[str, Any]:
    kind = "video" if path.startswith("video") else "image"
    return {kind: path, "prompt": "What?", "chosen": "A cat.", "rejected": "A dog.", "id": "1", **changes}


@pytest.fixture
def folder(tmp_path: Path, png: Callable[..., bytes]) -> Callable[..., Path]:
    for subset in SUBSETS:
        (tmp_path / subset).mkdir()
        (tmp_path / subset / "a.jpg").write_bytes(png())

    def write(*rows: Any) -> Path:
        (tmp_path / "dpo_pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path

    return write


def test_each_subset_takes_its_own_rows(folder: Callable[..., Path], collect: Callable[..., Any]) -> None:
    root = folder(_row("long/a.jpg"), _row("short/a.jpg"), _row("./mcq/a.jpg"), _row("safety/a.jpg"))
    for number, subset in enumerate(SUBSETS):
        (pair,), notes = collect(READ[subset], root)
        assert pair.pair_id == f"mm_rlhf_{subset}-{number:06d}" and pair.source == f"mm_rlhf_{subset}"
        assert pair.responses == ("A cat.", "A dog.") and not notes
        assert Path(pair.images[0]) == root / subset / "a.jpg"
    assert collect(READ["video"], root) == ([], [])


def test_pictures_are_read_straight_from_the_zip(
    folder: Callable[..., Path], png: Callable[..., bytes], collect: Callable[..., Any]
) -> None:
    root = folder(_row("long/b.jpg"), _row("long/c.jpg"), _row("long/d.jpg"))
    with zipfile.ZipFile(root / "long.zip", "w") as archive:
        archive.writestr("long/b.jpg", png((1, 1, 1)))
        archive.writestr("c.jpg", png((2, 2, 2)))
    pairs, (note,) = collect(READ["long"], root)
    assert [Path(pair.images[0]).read_bytes() for pair in pairs] == [png((1, 1, 1)), png((2, 2, 2))]
    assert pairs[0].meta == {"image": "b.jpg"}
    assert note["reason"] == "picture not found" and note["origin"].endswith("row 3")


def test_a_video_is_a_folder_of_frames(
    folder: Callable[..., Path], png: Callable[..., bytes], collect: Callable[..., Any]
) -> None:
    root = folder(_row("video/a"), _row("video/b.mp4"), _row("video/c.mp4"), _row("video/d"))
    for name, count in (("a", 12), ("b", 100), ("d", 0)):
        (root / "video" / name).mkdir(parents=True)
        for index in range(count):
            (root / "video" / name / f"frame_{index}.png").write_bytes(png())
    (root / "video" / "c.mp4").write_bytes(b"a real video")
    (root / "video" / "d" / "notes.txt").write_text("no frame")
    (short, long), notes = collect(READ["video"], root)
    assert [Path(path).stem for path in short.frames] == [f"frame_{index}" for index in range(12)]
    assert short.images == () and short.meta == {"image": "a"}
    numbers = [int(Path(path).stem[6:]) for path in long.frames]
    assert numbers == [index * 100 // MAX_FRAMES for index in range(MAX_FRAMES)], "spread over the video"
    assert [(note["kind"], note["reason"]) for note in notes] == [("refused", "video without frames")] * 2
    assert "'video/c.mp4': put its frames as pictures into the folder" in notes[0]["detail"]


def test_a_row_of_no_subset_is_refused_by_all(
    folder: Callable[..., Path], collect: Callable[..., Any]
) -> None:
    root = folder(_row("other/a.jpg"), _row("../long/a.jpg"), {"prompt": "What?"}, _row("long/a.jpg"))
    for subset in SUBSETS:
        pairs, notes = collect(READ[subset], root)
        assert len(pairs) == (subset == "long")
        assert [note["reason"] for note in notes] == [
            "path of no subset",
            "path of no subset",
            "field 'image' is missing or not text",
        ]
        assert [note["origin"].rpartition(" ")[2] for note in notes] == ["1", "2", "3"]


def test_the_mini_world_divides_its_rows_as_table_2(world: Path, tmp_path: Path) -> None:
    pairs = {name: list(read(world / "mm_rlhf", cache=tmp_path)) for name, read in READ.items()}
    assert {name: len(found) for name, found in pairs.items()} == {
        "long": 15, "short": 19, "mcq": 3, "safety": 3, "video": 5
    }  # fmt: skip
    assert all(len(pair.frames) == 2 for pair in pairs["video"])
    assert not (world / "mm_rlhf" / "mcq").exists()
