"""Every loader against damaged rows and files: nothing crashes, faults are named, good rows stay."""

import base64
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import draw_damaged, garbage, png
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from r1reward.data.rows import Quarantine
from r1reward.data.sources import OTHER_SOURCES, SOURCES
from r1reward.prompts import judge_prompt
from r1reward.types import PreferencePair

ALL = SOURCES | OTHER_SOURCES
PARQUET = {"rlaif_v", "wildvision_battle", "r1_reward_rl"}


PNG = png()


def good_row(name: str) -> dict[str, Any]:
    """A sound row of a source whose picture is `a.png` in its folder."""
    if name == "rlaif_v":
        return {
            "image": {"bytes": PNG, "path": "a.png"},
            "image_path": "a.png",
            "question": "q",
            "chosen": "a",
            "rejected": "b",
        }
    if name == "vl_feedback":
        annotations = [{"Helpfulness": {"Rating": rating, "Rationale": ""}} for rating in "51"]
        completions = [{"annotations": a, "response": r} for a, r in zip(annotations, "ab", strict=True)]
        return {"prompt": "q", "completions": completions, "img_path": "a.png"}
    if name == "povid":
        chats = [[{"from": "human", "value": "q"}, {"from": "gpt", "value": text}] for text in "ab"]
        return {"image": "a.png", "conversations": chats[0], "rejected_conversations": chats[1]}
    if name == "wildvision_battle":
        chats = [[{"role": "user", "content": "q"}, {"role": "assistant", "content": text}] for text in "ab"]
        image = {"bytes": PNG, "path": "a.png"}
        return {"conversation_a": chats[0], "conversation_b": chats[1], "winner": "model_a", "image": image}
    if name == "r1_reward_rl":
        text = judge_prompt(PreferencePair("p", "p", "q", ("a", "b"), 1), name="paper")
        message = json.dumps([{"role": "user", "content": [{"type": "text", "text": text}]}])
        return {"message": message, "answer": ["<answer>1</answer>"], "image": base64.b64encode(PNG).decode()}
    subset = name.removeprefix("mm_rlhf_")
    picture = {"video": "video/a"} if subset == "video" else {"image": f"{subset}/a.png"}
    return {**picture, "prompt": "q", "chosen": "a", "rejected": "b", "id": "1"}


def write_rows(name: str, folder: Path, rows: list[Any]) -> list[str]:
    """Write rows in the source's format; returns the file of each row (parquet: its own)."""
    for place in ("", "long", "short", "mcq", "safety", "video/a"):
        (folder / place).mkdir(parents=True, exist_ok=True)
        (folder / place / "a.png").write_bytes(PNG)
    if name in PARQUET:
        files = [folder / f"{index}.parquet" for index in range(len(rows))]
        for file, row in zip(files, rows, strict=True):
            pq.write_table(pa.Table.from_pylist([row]), file)
        return [str(file) for file in files]
    file = folder / ("POVID.json" if name == "povid" else "dpo_pairs.jsonl")
    lines = [json.dumps(row) for row in rows]
    file.write_text(f"[{','.join(lines)}]" if name == "povid" else "\n".join(lines) + "\n")
    return [str(file)] * len(rows)


def read_all(name: str, folder: Path) -> tuple[list[str], list[dict[str, str]]]:
    """(ids of the pairs, rows of the quarantine)."""
    path = folder / "notes" / "quarantine.jsonl"
    with Quarantine(path) as quarantine:
        pairs = list(ALL[name].read(folder, quarantine=quarantine, cache=folder / "notes"))
    for pair in pairs:
        json.dumps([pair.question, *pair.responses], ensure_ascii=False).encode()
        assert all(Path(picture).is_file() for picture in (*pair.images, *pair.frames))
    return [pair.pair_id for pair in pairs], [json.loads(line) for line in path.read_text().splitlines()]


GARBAGE = garbage("nan", "tie", "x" * 200_000, {"bytes": PNG[:30], "path": 3})


def has_bytes(value: Any) -> bool:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, bytes) or any(has_bytes(part) for part in parts)


@pytest.mark.parametrize("name", list(ALL))
@settings(max_examples=80)
@given(data=st.data())
def test_a_damaged_row_is_named_and_its_neighbours_stay(name: str, data: st.DataObject) -> None:
    good = good_row(name)
    bad = draw_damaged(data, good, GARBAGE)
    assume(name in PARQUET or not has_bytes(bad))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            files = write_rows(name, folder, [good, bad, good])
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, ValueError, TypeError):
            assume(False)  # parquet cannot hold it
        found, notes = read_all(name, folder)
    first, second, third = (f"{name}-{number:06d}" for number in range(3))
    assert first in found and third in found
    assert len(notes) == (second not in found)
    for note in notes:
        row = "1" if name in PARQUET else "2"
        assert note["origin"] in (f"{files[1]}, row {row}", files[1]) and note["reason"]


@pytest.mark.parametrize("name", list(ALL))
def test_damaged_bytes_of_a_file(name: str, tmp_path: Path) -> None:
    """Whatever happens to the second half of a file, JSON lines before it are read and nothing crashes."""
    rng = np.random.default_rng(0)
    files = write_rows(name, tmp_path, [good_row(name)] * 8)
    path = Path(files[-1])
    whole = path.read_bytes()
    for _ in range(60):
        data = bytearray(whole)
        start = int(rng.integers(len(data) // 2, len(data)))
        if rng.integers(2):
            del data[start:]
        else:
            data[start : start + 8] = rng.bytes(8)
        path.write_bytes(data)
        found, notes = read_all(name, tmp_path)
        assert all(note["origin"].startswith(str(path)) for note in notes)
        kept = 7 if name in PARQUET else 0 if name == "povid" else 4
        assert found[:kept] == [f"{name}-{number:06d}" for number in range(kept)]
        assert found or notes


PICTURES: dict[str, Callable[[], bytes]] = {
    "cut": lambda: PNG[:-20],
    "empty": lambda: b"",
    "text": lambda: b"no picture",
    "zip": lambda: b"PK\x03\x04" + b"\0" * 100,
}


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.parametrize("name", list(ALL))
def test_a_damaged_picture_is_named_and_its_neighbours_stay(name: str, kind: str, tmp_path: Path) -> None:
    bad, data = good_row(name), PICTURES[kind]()
    if name == "r1_reward_rl":
        bad["image"] = base64.b64encode(data).decode()
    elif name in PARQUET:
        bad["image"]["bytes"] = data
    else:
        key = next(key for key in ("image", "img_path", "video") if key in bad)
        bad[key] = bad[key].replace("a.png", "b.png") if key != "video" else "video/b"
    files = write_rows(name, tmp_path, [good_row(name), bad, good_row(name)])
    for place in ("", "long", "short", "mcq", "safety", "video/b"):
        (tmp_path / place).mkdir(exist_ok=True)
        (tmp_path / place / "b.png").write_bytes(data)
    found, (note,) = read_all(name, tmp_path)
    assert found == [f"{name}-000000", f"{name}-000002"]
    assert note["origin"] == f"{files[1]}, row {1 if name in PARQUET else 2}" and note["kind"] == "refused"
