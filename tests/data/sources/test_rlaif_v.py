from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from r1reward.data.sources.rlaif_v import read


def _row(png: bytes, index: int, **changes: object) -> dict[str, object]:
    return {
        "ds_name": "RLAIF-V",
        "image": {"bytes": png, "path": f"{index:08d}.png"},
        "question": "What is it?",
        "chosen": "A red square.",
        "rejected": "A blue square.",
        "origin_dataset": "OK-VQA",
        "origin_split": '{"model": "m", "feedback": "f", "type": "t"}',
        "idx": index,
        "image_path": f"{index:08d}.png",
        **changes,
    }


def _write(folder: Path, name: str, rows: list[dict[str, object]]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / name)


def test_rows_become_pairs_with_the_chosen_response_first(tmp_path: Path, png: Callable[..., bytes]) -> None:
    _write(tmp_path, "RLAIF-V-Dataset_000.parquet", [_row(png(), 0), _row(png((0, 0, 9)), 1)])
    _write(tmp_path, "RLAIF-V-Dataset_001.parquet", [_row(png(), 2, question="<image>\nAnd this?")])
    pairs = list(read(tmp_path))
    assert [pair.pair_id for pair in pairs] == ["rlaif_v-000000", "rlaif_v-000001", "rlaif_v-000002"]
    assert {(pair.responses, pair.preferred) for pair in pairs} == {(("A red square.", "A blue square."), 1)}
    assert pairs[2].question == "And this?"
    assert pairs[1].meta == {"image": "00000001.png"}
    assert Path(pairs[1].images[0]).read_bytes() == png((0, 0, 9))
    assert pairs[0].images == pairs[2].images and Path(pairs[0].images[0]).parent == tmp_path / "pictures"
    assert pairs[2].origin.endswith("RLAIF-V-Dataset_001.parquet, row 1")


def test_what_is_left_out_is_noted(
    tmp_path: Path, png: Callable[..., bytes], collect: Callable[..., Any]
) -> None:
    rows = [
        _row(png(), 0),
        _row(png(), 1, rejected=" A red square."),
        _row(png(), 2, chosen=""),
        _row(b"broken", 3),
    ]
    _write(tmp_path / "data", "a.parquet", rows)
    cache = tmp_path / "cache"
    kept, notes = collect(read, tmp_path, cache=cache)
    assert [pair.pair_id for pair in kept] == ["rlaif_v-000000"]
    assert [note["reason"] for note in notes] == [
        "identical responses",
        "empty response",
        "unreadable picture",
    ]
    assert len(list(cache.iterdir())) == 1
    assert notes[2]["kind"] == "refused" and notes[2]["origin"].endswith("a.parquet, row 4")


def test_faulty_rows_and_files_are_refused_and_the_rest_is_kept(
    tmp_path: Path, png: Callable[..., bytes], collect: Callable[..., Any]
) -> None:
    _write(tmp_path, "a.parquet", [_row(png(), 0), _row(png(), 1, question=None)])
    row = _row(png(), 0)
    del row["chosen"]
    _write(tmp_path, "b.parquet", [row, row])
    (tmp_path / "c.parquet").write_bytes(b"PAR1 and nothing more")
    _write(tmp_path, "d.parquet", [_row(png(), 0)])
    pairs, notes = collect(read, tmp_path)
    assert [pair.pair_id for pair in pairs] == ["rlaif_v-000000", "rlaif_v-000004"]
    assert [Path(note["origin"]).name for note in notes] == ["a.parquet, row 2", "b.parquet", "c.parquet"]
    assert notes[1]["detail"] == "no column chosen"


def test_the_mini_world_is_read_whole(world: Path, tmp_path: Path) -> None:
    pairs = list(read(world / "rlaif_v", cache=tmp_path))
    assert len(pairs) == 40 and all(Path(pair.images[0]).is_file() for pair in pairs)
