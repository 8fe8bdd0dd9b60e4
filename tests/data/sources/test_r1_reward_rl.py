import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r1reward.data.sources.r1_reward_rl import read
from r1reward.prompts import judge_prompt
from r1reward.types import PreferencePair

PAIR = PreferencePair("p", "p", "What is it?", ("A cat.", "A dog."), 1)


def _row(png: bytes, **changes: Any) -> dict[str, Any]:
    content = [
        {"type": "text", "text": judge_prompt(PAIR, name="paper")},
        {"type": "image", "image": "/somewhere/else/1.jpg"},
    ]
    return {
        "question": "What is it?",
        "message": json.dumps([{"role": "user", "content": content}]),
        "answer": ["<answer>2</answer>"],
        "image": base64.b64encode(png).decode(),
        **changes,
    }


def _write(folder: Path, rows: list[dict[str, Any]], kind: str) -> Path:
    if kind == "parquet":
        (folder / "data").mkdir()
        pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "train-00000-of-00001.parquet")
    else:
        (folder / "rl.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_pairs_come_out_of_the_prompt(
    kind: str, tmp_path: Path, png: Callable[..., bytes], collect: Callable[..., Any]
) -> None:
    uri = "data:image/png;base64," + base64.b64encode(png()).decode()
    text = json.dumps([{"role": "user", "content": judge_prompt(PAIR, name="paper")}])
    rows = [_row(png()), _row(png(), answer=["<answer>1</answer>"], image=uri, message=text)]
    pairs, notes = collect(read, _write(tmp_path, rows, kind))
    assert [(pair.question, pair.responses) for pair in pairs] == [("What is it?", PAIR.responses)] * 2
    assert [pair.preferred for pair in pairs] == [2, 1] and not notes
    assert {Path(pair.images[0]).read_bytes() for pair in pairs} == {png()}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"message": "not json"}, "field 'message' is not JSON"),
        ({"message": "[" * 100_000}, "field 'message' is not JSON"),
        ({"message": "[]"}, "field 'message' is not one turn"),
        ({"message": '[{"role": "user", "content": "Compare."}]'}, "not the released prompt"),
        ({"message": '[{"role": "user", "content": 5}]'}, "field 'text' is missing or not text"),
        ({"message": '[{"content": ["\\ud800"]}]'}, "not an object"),
        ({"answer": []}, "field 'answer' names no response"),
        ({"answer": 2}, "field 'answer' names no response"),
        ({"answer": ["<answer>1</answer>", "<answer>2</answer>"]}, "field 'answer' names no response"),
        ({"answer": ["1"]}, "field 'answer' names no response"),
        ({"image": "no base64!"}, "unreadable picture"),
        ({"image": base64.b64encode(b"text").decode()}, "unreadable picture"),
        ({"image": ""}, "no picture"),
    ],
)
def test_other_rows_are_refused(
    change: dict[str, Any],
    reason: str,
    tmp_path: Path,
    png: Callable[..., bytes],
    collect: Callable[..., Any],
) -> None:
    rows = [_row(png()), _row(png(), **change), _row(png())]
    pairs, (note,) = collect(read, _write(tmp_path, rows, "jsonl"))
    assert [pair.pair_id for pair in pairs] == ["r1_reward_rl-000000", "r1_reward_rl-000002"]
    assert (note["kind"], note["reason"]) == ("refused", reason)
    assert note["origin"].endswith("rl.jsonl, row 2")
