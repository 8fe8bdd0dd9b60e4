import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from r1reward.bench.multimodal_rewardbench import group_of, load_benchmark
from r1reward.benchmarks import GROUP_COUNTS, MULTIMODAL


def _row(index: int, **changes: Any) -> dict[str, Any]:
    return {
        "ID": f"pairs_{index}",
        "Text": f"<image>\nwhat is it {index} ?",
        "Image": f"images/pairs/{index}.png",
        "Output1": "a ring .",
        "Output2": "a star .",
        "Better": "Output2" if index % 2 else "Output1",
        "Category": "safety",
    } | changes


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (28, 28), "red").save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for index in range(3):
        picture = tmp_path / f"images/pairs/{index}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        picture.write_bytes(_png())
    return tmp_path


def _write(folder: Path, rows: list[dict[str, Any]]) -> Path:
    path = folder / "data" / "all_data.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


def test_rows_become_pairs_in_the_order_of_the_file(folder: Path) -> None:
    _write(folder, [_row(0), _row(1)])
    first, second = load_benchmark(folder)
    assert (first.question, first.responses, first.preferred) == (
        "what is it 0 ?",
        ("a ring .", "a star ."),
        1,
    )
    assert (second.preferred, second.category, second.meta["id"], second.meta["row"]) == (
        2,
        "safety",
        "pairs_1",
        1,
    )
    assert Path(second.images[0]).read_bytes() == _png()


def test_a_parquet_mirror_gives_the_same_pairs(folder: Path, tmp_path: Path) -> None:
    plain = load_benchmark(_write(folder, [_row(0), _row(1)]))
    rows = [_row(i, Image={"bytes": _png(), "path": f"images/pairs/{i}.png"}) for i in range(2)]
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    pq.write_table(pa.Table.from_pylist(rows), mirror / "test.parquet")
    for one, other in zip(plain, load_benchmark(mirror), strict=True):
        assert (one.question, one.responses, one.preferred, one.meta) == (
            other.question,
            other.responses,
            other.preferred,
            other.meta,
        )
        assert Path(other.images[0]).read_bytes() == _png()


@pytest.mark.parametrize(
    ("category", "item", "group"),
    [
        ("open_generation/correctness_task", "x", "correctness"),
        ("open_generation/preference_task", "x", "preference"),
        ("knowledge", "x", "knowledge"),
        ("reasoning", "MathVista_1", "math"),
        ("reasoning", "emma-coding-3", "coding"),
        ("safety", "hateful_1", "safety"),
        ("vqa", "x", "vqa"),
    ],
)
def test_groups_are_the_columns_of_table_4(category: str, item: str, group: str) -> None:
    assert group_of(category, item) == group
    assert group in GROUP_COUNTS[MULTIMODAL] and sum(GROUP_COUNTS[MULTIMODAL].values()) == 4711


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Text": ""}, "row 2: field 'Text' is blank; the authors' 0_download_data.py"),
        ({"Better": "Output3"}, "row 2: field 'Better' is 'Output3'"),
        ({"Category": "taste"}, "row 2: field 'Category' is 'taste'; known are reasoning"),
        ({"Image": "../secret.png"}, "row 2"),
        ({"Image": "images/pairs/9.png"}, "row 2"),
        ({"Output1": 3}, "row 2: field 'Output1'"),
    ],
)
def test_a_faulty_row_is_named(
    folder: Path, change: dict[str, Any], message: str, caplog: pytest.LogCaptureFixture
) -> None:
    (pair,) = load_benchmark(_write(folder, [_row(0), _row(1, **change)]))
    assert pair.meta["id"] == "pairs_0" and message in caplog.text
