"""Every field of a benchmark's row reaches its pair, whole; nothing of a pair is left as it is by default."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from r1reward.bench import mm_rlhf_rewardbench, multimodal_rewardbench, vl_rewardbench
from r1reward.types import PreferencePair


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (28, 28), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def without(pair: PreferencePair) -> dict[str, Any]:
    """A pair by its fields; pictures by their bytes."""
    fields = {name: getattr(pair, name) for name in pair.__dataclass_fields__}
    pictures = {name: [Path(path).read_bytes() for path in fields[name]] for name in ("images", "frames")}
    return fields | pictures


def vl_parquet(folder: Path) -> tuple[list[PreferencePair], str]:
    rows = [{"id": "RLAIF-V-1", "query": "<image>\nwhat ?", "response": ["a .", "b ."],
             "human_ranking": ranks,
             "image": {"bytes": png("red"), "path": "x/1.png"}} for ranks in ([0, 1], [1, 0])]  # fmt: skip
    pq.write_table(pa.Table.from_pylist(rows), folder / "test.parquet")
    return vl_rewardbench.load_benchmark(folder), f"{folder}/test.parquet, row 2"


def vl_lines(folder: Path) -> tuple[list[PreferencePair], str]:
    row = {
        "id": "mathverse_1",
        "prompt": "<image>what ?",
        "chosen": "b .",
        "rejected": "a .",
        "image": "p/1.png",
    }
    write(folder / "pictures/p/1.png", png("red"))
    path = write(folder / "vl.jsonl", f"{json.dumps(row)}\n" * 2)
    return vl_rewardbench.load_benchmark(path, pictures=folder / "pictures"), f"{path}, row 2"


def multimodal(folder: Path) -> tuple[list[PreferencePair], str]:
    row = {"ID": "pairs_9", "Text": "<image>\nwhat ?", "Image": "i/1.png", "Output1": "a .", "Output2": "b .",
           "Better": "Output2", "Category": "safety"}  # fmt: skip
    write(folder / "i/1.png", png("red"))
    path = write(folder / "all_data.json", json.dumps([row, row]))
    return multimodal_rewardbench.load_benchmark(folder), f"{path}, row 2"


def mm_rlhf(folder: Path, *, video: bool = False) -> tuple[list[PreferencePair], str]:
    name = "video/v1" if video else "long/1.png"
    row = {"id": "q7", "prompt": "what ?\n<image>", "chosen": "b .", "rejected": "a .",
           ("video" if video else "image"): name}  # fmt: skip
    for number, colour in enumerate(("red", "blue") if video else ("red",)):
        write(folder / name / f"{number}.png" if video else folder / name, png(colour))
    path = write(folder / "mm_reward_bench.jsonl", f"{json.dumps(row)}\n" * 2)
    return mm_rlhf_rewardbench.load_benchmark(folder), f"{path}, row 2"


def of_video(folder: Path) -> tuple[list[PreferencePair], str]:
    return mm_rlhf(folder, video=True)


# The second of two rows that are alike: what is expected of its pair, beside texts and pictures.
CASES: dict[Any, dict[str, Any]] = {
    vl_parquet: {"pair_id": "vl_rewardbench-00001", "preferred": 2, "category": "hallucination",
                 "meta": {"row": 1, "id": "RLAIF-V-1", "as_released": "general", "image": "x/1.png"}},
    vl_lines: {"pair_id": "vl_rewardbench-00001", "preferred": 1, "category": "reasoning",
               "meta": {"row": 1, "id": "mathverse_1", "as_released": "reasoning", "image": "p/1.png"}},
    multimodal: {"pair_id": "multimodal_rewardbench-00001", "preferred": 2, "category": "safety",
                 "meta": {"row": 1, "id": "pairs_9", "image": "i/1.png"}},
    mm_rlhf: {"pair_id": "mm_rlhf_rewardbench-00001", "preferred": 1, "category": "long",
              "meta": {"row": 1, "question": "q7", "image": "long/1.png"}},
    of_video: {"pair_id": "mm_rlhf_rewardbench-00001", "preferred": 1, "category": "video",
               "meta": {"row": 1, "question": "q7", "image": "video/v1"}},
}  # fmt: skip


@pytest.mark.parametrize("load", CASES)
def test_a_row_becomes_a_whole_pair(load: Any, tmp_path: Path) -> None:
    (first, second), origin = load(tmp_path)
    video = load is of_video
    assert without(second) == CASES[load] | {
        "source": CASES[load]["pair_id"].removesuffix("-00001"), "question": "what ?", "origin": origin,
        "responses": ("a .", "b .") if load in (vl_parquet, multimodal) else ("b .", "a ."),
        "images": [] if video else [png("red")], "frames": [png("red"), png("blue")] if video else [],
    }  # fmt: skip
    assert first.meta["row"] == 0 and first.origin == origin.replace("row 2", "row 1")
