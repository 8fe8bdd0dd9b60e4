"""Every field of a source's row reaches its pair, whole; nothing of a pair is left as it is by default."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r1reward.data.sources import ALL_SOURCES
from r1reward.prompts import judge_prompt, with_history
from r1reward.types import Comparison

Png = Callable[..., bytes]
CHOSEN, REJECTED = "b .", "a ."


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def table(folder: Path, row: dict[str, Any]) -> str:
    pq.write_table(pa.Table.from_pylist([row, row]), folder / "rows.parquet")
    return "rows.parquet"


def rlaif_v(folder: Path, png: Png) -> str:
    return table(folder, {"question": "<image>\nwhat ?", "chosen": CHOSEN, "rejected": REJECTED,
                          "image": {"bytes": png(), "path": "x/1.png"}, "image_path": "x/1.png"})  # fmt: skip


def povid(folder: Path, png: Png) -> str:
    write(folder / "train2014/1.png", png())
    talks = {name: [{"from": "human", "value": "<image>\nwhat ?"}, {"from": "gpt", "value": said}]
             for name, said in (("conversations", CHOSEN), ("rejected_conversations", REJECTED))}  # fmt: skip
    write(
        folder / "POVID.json", json.dumps([{"image": "x/1.png", **talks}] * 2).replace("x/1", "train2014/1")
    )
    return "POVID.json"


def vl_feedback(folder: Path, png: Png) -> str:
    write(folder / "merged_images/1.png", png())
    rated = [{"response": text, "annotations": {"Helpfulness": {"Rating": rating}}}
             for text, rating in ((REJECTED, "2"), (CHOSEN, "4"))]  # fmt: skip
    row = {"prompt": "<image>what ?", "img_path": "merged_images/1.png", "completions": rated}
    write(folder / "vlfeedback.jsonl", f"{json.dumps(row)}\n" * 2)
    return "vlfeedback.jsonl"


def wildvision(folder: Path, png: Png) -> str:
    turns = [("user", "before ?"), ("assistant", "so ."), ("user", "what ?")]
    talks = {}
    for side, said in (("a", REJECTED), ("b", CHOSEN)):
        told = [*turns, ("assistant", said)]
        talks[f"conversation_{side}"] = [{"role": role, "content": text} for role, text in told]
    return table(folder, {**talks, "image": {"bytes": png(), "path": "x/1.png"}, "winner": "model_b"})


def mm_rlhf_long(folder: Path, png: Png) -> str:
    write(folder / "long/1.png", png())
    row = {"prompt": "<image>\nwhat ?", "image": "./long/1.png", "chosen": CHOSEN, "rejected": REJECTED}
    write(folder / "dpo_pairs.jsonl", f"{json.dumps(row)}\n" * 2)
    return "dpo_pairs.jsonl"


def mm_rlhf_video(folder: Path, png: Png) -> str:
    for number in range(2):
        write(folder / f"video/v1/{number}.png", png((number, 0, 0)))
    row = {"prompt": "<image>\nwhat ?", "video": "video/v1.mp4", "chosen": CHOSEN, "rejected": REJECTED}
    write(folder / "dpo_pairs.jsonl", f"{json.dumps(row)}\n" * 2)
    return "dpo_pairs.jsonl"


def r1_reward_rl(folder: Path, png: Png) -> str:
    text = judge_prompt(Comparison("what ?", (REJECTED, CHOSEN)), name="paper")
    message = json.dumps([{"role": "user", "content": [{"type": "text", "text": text}]}])
    row = {"message": message, "answer": ["<answer>2</answer>"], "image": base64.b64encode(png()).decode()}
    write(folder / "rows.jsonl", f"{json.dumps(row)}\n" * 2)
    return "rows.jsonl"


# Who writes the rows of a source, and where its pair is not like the others.
CASES: dict[str, tuple[Callable[[Path, Png], str], dict[str, Any]]] = {
    "rlaif_v": (rlaif_v, {}),
    "povid": (povid, {}),
    "vl_feedback": (vl_feedback, {}),
    "wildvision_battle": (
        wildvision, {"question": with_history([("user", "before ?"), ("assistant", "so .")], "what ?")}
    ),
    "mm_rlhf_long": (mm_rlhf_long, {}),
    "mm_rlhf_video": (mm_rlhf_video, {"meta": {"image": "v1.mp4"}}),
    "r1_reward_rl": (
        r1_reward_rl, {"responses": (REJECTED, CHOSEN), "preferred": 2, "meta": {"image": ""}}
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_row_becomes_a_whole_pair(name: str, tmp_path: Path, png: Png) -> None:
    write_rows, differs = CASES[name]
    (tmp_path / "rows").mkdir()
    file = write_rows(tmp_path / "rows", png)
    first, second = ALL_SOURCES[name].read(tmp_path / "rows", cache=tmp_path / "cache")
    shown = {
        side: [Path(path).read_bytes() for path in getattr(second, side)] for side in ("images", "frames")
    }
    found: dict[str, Any] = {field: getattr(second, field) for field in second.__dataclass_fields__} | shown
    video = [png((number, 0, 0)) for number in range(2)] if name == "mm_rlhf_video" else []
    assert found == {
        "pair_id": f"{name}-000001", "source": name, "question": "what ?", "responses": (CHOSEN, REJECTED),
        "preferred": 1, "images": [] if video else [png()], "frames": video, "category": "",
        "origin": f"{tmp_path / 'rows' / file}, row 2", "meta": {"image": "1.png"},
    } | differs  # fmt: skip
    assert (first.pair_id, first.origin) == (f"{name}-000000", found["origin"].replace("row 2", "row 1"))
    kept = [path for path in (*second.images, *second.frames) if tmp_path / "cache" in Path(path).parents]
    assert len(kept) == (name in ("rlaif_v", "wildvision_battle", "r1_reward_rl")), (
        "pictures inside rows are kept"
    )
