import io
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from r1reward.bench.vl_rewardbench import (
    STAND_IN,
    group_as_released,
    group_of,
    load_benchmark,
)
from r1reward.benchmarks import GROUP_COUNTS, VL, VL_RELEASED_COUNTS
from r1reward.mini.world import write_world
from r1reward.settings import WorldSettings


def _png(grey: int = 9) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (28, 28), grey).save(buffer, "PNG")
    return buffer.getvalue()


def _hub_row(item_id: str = "RLAIF-V-1", **changes: object) -> dict[str, Any]:
    return {
        "id": item_id,
        "query": "<image>\nWhat is it?",
        "response": ["A cat.", "A dog."],
        "image": {"bytes": _png(), "path": None},
        "human_ranking": [0, 1],
        "models": ["m", "n"],
        "judge": "human",
        "rationale": "",
        "query_source": "rlaif-v",
        "meta": "{}",
        "human_error_analysis": [],
        "ground_truth": "",
        **changes,
    }


def _text_row(index: int, **changes: object) -> dict[str, Any]:
    return {
        "id": "mathverse_1",
        "prompt": "How much?",
        "chosen": "2",
        "rejected": "3",
        "image": f"vl_reward/img/image_{index}.jpg",
        "chosen_reason": "",
        "rejected_reason": "",
        **changes,
    }


def _write_hub(folder: Path, rows: list[dict[str, Any]]) -> Path:
    (folder / "data").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "test-00000-of-00001.parquet")
    return folder


def _write_text(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("item_id", "official", "released"),
    [
        ("hallucination_pair-1003", "hallucination", "hallucination"),
        ("RLAIF-V-12", "hallucination", "general"),
        ("RLHF-V-12", "hallucination", "general"),
        ("wildvision-battle-3", "general", "general"),
        ("mathverse_7", "reasoning", "reasoning"),
        ("mmmu_pro_test_Art_1", "reasoning", "reasoning"),
        ("svit-1", "general", "general"),
        ("", "general", "general"),
    ],
)
def test_groups(item_id: str, official: str, released: str) -> None:
    assert (group_of(item_id), group_as_released(item_id)) == (official, released)


def test_hub_rows_become_pairs_in_the_files_order(tmp_path: Path) -> None:
    rows = [_hub_row(), _hub_row(human_ranking=[1, 0], image={"bytes": _png(77), "path": "b.png"})]
    first, second = load_benchmark(_write_hub(tmp_path, rows))
    assert (first.preferred, second.preferred) == (1, 2)
    assert first.responses == second.responses == ("A cat.", "A dog.")
    assert first.question == "What is it?" and first.category == "hallucination"
    assert first.pair_id != second.pair_id and (first.meta["id"], second.meta["row"]) == ("RLAIF-V-1", 1)
    assert Path(second.images[0]).read_bytes() == _png(77) and "pictures" not in second.meta


def test_a_column_of_bytes_holds_pictures_too(tmp_path: Path) -> None:
    (pair,) = load_benchmark(_write_hub(tmp_path, [_hub_row(image=_png(77))]))
    assert Path(pair.images[0]).read_bytes() == _png(77)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"human_ranking": [0, 0]}, "human_ranking"),
        ({"human_ranking": []}, "human_ranking"),
        ({"response": ["only one"]}, "response"),
        ({"query": None}, "query"),
        ({"image": {"bytes": b"broken", "path": "x"}}, "picture"),
        ({"image": None}, "object"),
    ],
)
def test_hub_faults_name_file_and_row(
    change: dict[str, Any], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    _write_hub(tmp_path, [_hub_row(), _hub_row(**change)])
    (pair,) = load_benchmark(tmp_path)
    assert pair.meta["row"] == 0 and re.search(rf"parquet, row 2: .*{message}", caplog.text)


def test_text_release_with_its_pictures(tmp_path: Path) -> None:
    (tmp_path / "vl_reward" / "img").mkdir(parents=True)
    for index in range(2):
        (tmp_path / "vl_reward" / "img" / f"image_{index}.jpg").write_bytes(_png())
    path = _write_text(tmp_path / "data.jsonl", [_text_row(0), _text_row(1)])
    first, second = load_benchmark(path, pictures=tmp_path)
    assert first.responses == ("2", "3") and first.preferred == 1 and first.category == "reasoning"
    assert second.images == (str(tmp_path / "vl_reward/img/image_1.jpg"),)
    with pytest.raises(ValueError, match=r"data\.jsonl holds no pictures"):
        load_benchmark(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": "../x.jpg"}, "leaves the folder"),
        ({"image": "x.jpg"}, "not found"),
        ({"chosen": None}, "chosen"),
    ],
)
def test_text_faults_name_file_and_row(
    change: dict[str, Any], message: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "vl_reward" / "img").mkdir(parents=True)
    (tmp_path / "vl_reward" / "img" / "image_0.jpg").write_bytes(_png())
    path = _write_text(tmp_path / "data.jsonl", [_text_row(0, **change), _text_row(0)])
    (pair,) = load_benchmark(path, pictures=tmp_path)
    assert pair.meta["row"] == 1 and re.search(rf"data\.jsonl, row 1: .*{message}", caplog.text)


def test_stand_in_pictures_are_taken_in_turn_and_labelled(tmp_path: Path) -> None:
    photographs = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    path = _write_text(tmp_path / "data.jsonl", [_text_row(index) for index in range(3)])
    pairs = load_benchmark(path, stand_in_pictures=photographs)
    assert [Path(pair.images[0]).name for pair in pairs] == ["a.jpg", "b.jpg", "a.jpg"]
    assert {pair.meta["pictures"] for pair in pairs} == {STAND_IN}


def test_the_mini_benchmark_and_its_validation_twin(tmp_path: Path) -> None:
    write_world(tmp_path, WorldSettings(pairs_per_source=1, benchmark_pairs=40, validation_pairs=20), seed=0)
    pairs = load_benchmark(tmp_path / "vl_rewardbench")
    twin = load_benchmark(tmp_path / "vl_rewardbench_validation", cache=tmp_path / "cache")
    assert (len(pairs), len(twin)) == (40, 20)
    assert set(Counter(pair.category for pair in pairs)) == set(GROUP_COUNTS[VL])
    assert {pair.preferred for pair in pairs} == {1, 2}
    assert all(Path(pair.images[0]).parent == tmp_path / "cache" for pair in twin)


def test_the_real_file_is_read_and_grouped(real_data: Path) -> None:
    photographs = sorted((real_data / "images").glob("*.jpg"))
    pairs = load_benchmark(
        real_data / "r1_reward" / "vl_reward_bench_data.jsonl", stand_in_pictures=photographs
    )
    assert len(pairs) == 1250 == len({pair.pair_id for pair in pairs})
    assert len({pair.meta["id"] for pair in pairs}) == 1225
    assert Counter(pair.category for pair in pairs) == GROUP_COUNTS[VL]
    assert Counter(pair.meta["as_released"] for pair in pairs) == VL_RELEASED_COUNTS
