import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from r1reward.bench.mm_rlhf_rewardbench import STAND_IN, load_benchmark
from r1reward.benchmarks import GROUP_COUNTS, MM_RLHF, MM_RLHF_QUESTIONS


def _row(index: int, path: str, **changes: Any) -> dict[str, Any]:
    kind = "video" if path.startswith("video") else "image"
    texts = {"prompt": f"what {index} ?", "chosen": "a ring .", "rejected": "a star ."}
    return {"id": f"q{index // 2}", kind: path, **texts, **changes}


def _write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "mm_reward_bench.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "video" / "v").mkdir(parents=True)
    (tmp_path / "video" / "v" / "Thumbs.db").touch()
    for name in ("mcq/a.png", *(f"video/v/{frame}.jpg" for frame in (10, 2, 1))):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (28, 28), "blue").save(path)
    return tmp_path


def test_frames_come_in_order_of_time(folder: Path) -> None:
    _write(folder, [_row(0, "mcq/a.png"), _row(1, "video/v")])
    picture, video = load_benchmark(folder)
    assert (picture.category, video.category, video.images) == ("mcq", "video", ())
    assert [Path(frame).name for frame in video.frames] == ["1.jpg", "2.jpg", "10.jpg"]
    assert picture.meta["question"] == video.meta["question"] == "q0" and picture.preferred == 1


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (_row(1, "other/a.png"), "row 2: 'other/a.png' holds none of"),
        (_row(1, "video/none"), "row 2: .*put its frames as pictures into the folder"),
        (_row(1, "mcq/b.png"), "row 2"),
        (_row(1, "mcq/../../a.png"), "row 2"),
        (_row(1, "mcq/a.png", id=None), "row 2: field 'id'"),
    ],
)
def test_a_faulty_row_is_named(
    folder: Path, row: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    (pair,) = load_benchmark(_write(folder, [_row(0, "mcq/a.png"), row]))
    assert pair.category == "mcq" and re.search(message, caplog.text)


def test_the_real_file_has_the_counts_of_table_8(real_data: Path) -> None:
    photographs = sorted((real_data / "images").glob("*.jpg"))
    path = real_data / "r1_reward" / "mm_reward_bench.jsonl"
    pairs = load_benchmark(path, stand_in_pictures=photographs)
    assert Counter(pair.category for pair in pairs) == GROUP_COUNTS[MM_RLHF]
    assert len({pair.meta["question"] for pair in pairs}) == sum(MM_RLHF_QUESTIONS.values()) == 46
    named = {(pair.category, pair.meta["question"]) for pair in pairs}
    assert Counter(group for group, _ in named) == MM_RLHF_QUESTIONS
    assert {pair.meta["pictures"] for pair in pairs} == {STAND_IN}
