"""Loaders of reward benchmarks against damaged rows of parquet and of MM-RLHF: these alone are lost."""

import base64
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from damage import draw_damaged, garbage, png
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from r1reward.bench import mm_rlhf_rewardbench, multimodal_rewardbench, vl_rewardbench
from r1reward.types import PreferencePair

PNG = png()
EMBEDDED = {"bytes": PNG, "path": "a.png"}
TEXTS = {"prompt": "q", "chosen": "a", "rejected": "b"}
META = {"ID": "math-1", "Text": "q", "Output1": "a", "Output2": "b", "Better": "Output1", "Category": "vqa"}


@dataclass(frozen=True)
class Case:
    """A form of a benchmark: a sound row, the name of its file and how a folder is read."""

    row: dict[str, Any]
    file: str
    load: Callable[[Path], list[PreferencePair]]


CASES = {
    "vl parquet": Case(
        {"id": "mmmu-1", "query": "q", "response": ["a", "b"], "human_ranking": [0, 1], "image": EMBEDDED},
        "a.parquet", lambda folder: vl_rewardbench.load_benchmark(folder),
    ),
    "multimodal parquet": Case(
        {**META, "Image": EMBEDDED}, "a.parquet", lambda folder: multimodal_rewardbench.load_benchmark(folder)
    ),
    "mm_rlhf": Case(
        {"id": "1", "image": "mcq/a.png", **TEXTS}, "mm_reward_bench.jsonl",
        lambda folder: mm_rlhf_rewardbench.load_benchmark(folder),
    ),
}  # fmt: skip


def write(case: Case, folder: Path, rows: list[Any]) -> str:
    """Write sound rows around a damaged one; returns how the warning about it must begin."""
    (folder / "mcq").mkdir()
    (folder / "mcq" / "a.png").write_bytes(PNG)
    file = folder / case.file
    if file.suffix == ".parquet":
        for number, row in enumerate(rows):
            pq.write_table(pa.Table.from_pylist([row]), folder / f"{number}.parquet")
        return str(folder / "1.parquet")
    lines = [json.dumps(row) for row in rows]
    file.write_text("\n".join(lines) + "\n")
    return f"{file}, row 2"


GARBAGE = garbage(
    "x" * 5000, "mcq/" + "x" * 5000, "mcq/a.png/", "mcq", [0, 0], [1, 0, 2], ["0", "1"],
    base64.b64encode(PNG).decode(), "math", "open_generation/preference_task", "Output2",
)  # fmt: skip


@pytest.mark.parametrize("name", list(CASES))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_row_costs_itself(name: str, caplog: pytest.LogCaptureFixture, data: st.DataObject) -> None:
    case = CASES[name]
    bad = draw_damaged(data, case.row, GARBAGE)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            where = write(case, folder, [case.row, bad, case.row])
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, ValueError, TypeError):
            assume(False)  # parquet cannot hold it
        caplog.clear()
        pairs = case.load(folder)
        if len(pairs) == 2:
            assert f"1 of 3 rows are faulty and left out, the first: {where}" in caplog.text
            assert [pair.meta["row"] for pair in pairs] == [0, 2]
            assert pairs[0].meta["left_out"].startswith("1 of 3 rows left out: ")
            return
        # What is accepted can be written and read again.
        assert len(pairs) == 3 and "left_out" not in pairs[1].meta
        json.dumps([pairs[1].question, *pairs[1].responses, *map(str, pairs[1].meta.values())]).encode()
        assert all(Path(picture).is_file() for picture in (*pairs[1].images, *pairs[1].frames))
        for text in (pairs[1].question, *pairs[1].responses, pairs[1].category):
            text.encode("utf-8")
