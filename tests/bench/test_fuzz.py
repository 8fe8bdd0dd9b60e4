"""Loaders of reward benchmarks against damaged rows of parquet and of MM-RLHF: faults are named."""

import base64
import copy
import io
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from r1reward.bench import mm_rlhf_rewardbench, multimodal_rewardbench, vl_rewardbench
from r1reward.types import PreferencePair


def _png() -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 30, 30)).save(buffer, "PNG")
    return buffer.getvalue()


PNG = _png()
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
    """Write sound rows around a damaged one; returns how an error about it must begin."""
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


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys that lead to every part of a row."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from places(part, (*path, key))


DELETE = object()
GARBAGE = st.one_of(
    st.sampled_from([DELETE, None, True, 5, -1.5, float("nan"), float("inf"), 10**30]),
    st.sampled_from(["", " ", "\0", "\ud800", "x" * 5000, "mcq/" + "x" * 5000, "data:;base64,AAAA"]),
    st.sampled_from(["../a.png", "/etc/passwd", "C:\\a.png", "\\\\host\\a.png", "mcq/a.png/", "mcq"]),
    st.sampled_from(
        [[], {}, [[]], [None], [{}], {"a": None}, {"bytes": "text"}, [0, 0], [1, 0, 2], ["0", "1"]]
    ),
    st.sampled_from([base64.b64encode(PNG).decode(), "math", "open_generation/preference_task", "Output2"]),
    st.text(max_size=20),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
)


def damage(row: dict[str, Any], place: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """A copy of the row with another value in one place, or without it."""
    row = copy.deepcopy(row)
    holder: Any = row
    for key in place[:-1]:
        holder = holder[key]
    if value is DELETE:
        del holder[place[-1]]
    else:
        holder[place[-1]] = value
    return row


@pytest.mark.parametrize("name", list(CASES))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_row_is_named(name: str, data: st.DataObject) -> None:
    case = CASES[name]
    place = data.draw(st.sampled_from(sorted(places(case.row), key=repr)))
    bad = damage(case.row, place, data.draw(GARBAGE))
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        try:
            where = write(case, folder, [case.row, bad, case.row])
        except (pa.ArrowException, OverflowError, UnicodeEncodeError, ValueError, TypeError):
            assume(False)  # parquet cannot hold it
        try:
            pairs = case.load(folder)
        except ValueError as error:
            assert str(error).startswith(where)
            return
        # What is accepted can be written and read again.
        assert len(pairs) == 3
        json.dumps([pairs[1].question, *pairs[1].responses, *map(str, pairs[1].meta.values())]).encode()
        assert all(Path(picture).is_file() for picture in (*pairs[1].images, *pairs[1].frames))
        for text in (pairs[1].question, *pairs[1].responses, pairs[1].category):
            text.encode("utf-8")
