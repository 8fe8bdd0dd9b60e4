import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.files import write_atomic
from r1reward.report.packing import FORMS, RecordFiles, pack, unpack
from r1reward.report.records import Records
from r1reward.report.tables import judge_table

Change = Callable[[pa.Table], pa.Table]
# Words that a server may send: half a surrogate pair, a line end of Unicode, names of columns.
WORDS = st.sampled_from(["", "a", "1", "\ud800", "\u2028", "é\n", "null"])
SCALARS = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | WORDS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=2)
)
FIELDS = st.sampled_from(["row", "seed", "mode", "fields", "own_seed", "own_own_seed", "a,b", "é", ""])
LINES = st.lists(st.dictionaries(FIELDS, VALUES, max_size=4), max_size=4)
NAMES = st.sampled_from(
    [
        "bench/vl_rewardbench/sft/seed_0/greedy.jsonl",
        "bench/vl_rewardbench/sft/seed_10/sampled.jsonl",
        "stress/cell/wo_filter/seed_1/run.json",
        "stress/wo_filter/seed_1/run.json",
        "sft/seed_0/status.json",
        "sft/seed_0/status.jsonl",
        "steering/sft/seed_0.json",
        "reasoning/people.jsonl",
        "data.json",
    ]
)


@given(
    files=st.dictionaries(NAMES, st.tuples(LINES, st.sampled_from(FORMS), st.sampled_from(["", "\n", " "])))
)
def test_every_file_comes_back_to_the_byte(files, tmp_path_factory: pytest.TempPathFactory) -> None:
    root, contents = tmp_path_factory.mktemp("packed"), {}
    for name, (lines, form, end) in files.items():
        text = "".join(json.dumps(line, **form) + "\n" for line in lines) + end
        contents[name] = text.encode("utf-8", "backslashreplace")
        write_atomic(root / "run" / name, contents[name])
    for source, target in (("run", "published"), ("published", "again")):
        packed = RecordFiles(pack(root / source, root / target))
        assert {name: packed.content(name) for name in packed.names} == contents
    unpack(root / "published", root / "unpacked")
    assert {name: (root / "unpacked" / name).read_bytes() for name in contents} == contents
    tables = {path.relative_to(root / "again"): path.read_bytes() for path in (root / "again").rglob("*.*")}
    assert all((root / "published" / name).read_bytes() == content for name, content in tables.items())


@pytest.fixture
def packed(run_root: Path, tmp_path: Path) -> Path:
    """The records of a synthetic run as they are published."""
    return pack(run_root / "records", tmp_path / "published" / "records")


def test_a_table_has_a_column_for_each_part_of_a_name_and_each_field(packed: Path, run_root: Path) -> None:
    frame = pd.read_parquet(packed / "bench" / "vl_rewardbench.parquet")
    assert list(frame)[:6] == ["model", "seed", "mode", "fields", "row", "group"]
    one = frame[(frame["model"] == "sft") & (frame["seed"] == 1) & (frame["mode"] == "greedy")]
    lines = (run_root / "records/bench/vl_rewardbench/sft/seed_1/greedy.jsonl").read_text().splitlines()
    assert one["verdicts"].tolist() == [json.loads(line)["verdicts"] for line in lines]
    steps = pd.read_parquet(packed / "rl" / "metrics.parquet").groupby(["arm", "seed"])["step"]
    arms = ("reinforce_pp", "stable_reinforce")
    assert steps.count().to_dict() == {(arm, seed): 40 for arm in arms for seed in range(3)}
    assert {path.name for path in packed.rglob("*.json*")} == {"base.json", "data.json"}


def test_both_forms_are_read_alike(packed: Path, run_root: Path) -> None:
    runs, published = Records.of_run(run_root), Records(packed, "synthetic")
    for name in ("table_03", "table_05", "table_10"):
        pd.testing.assert_frame_equal(judge_table(runs, name=name), judge_table(published, name=name))
    for variant in ("stable_reinforce", "wo_filter", "wo_pre_clip"):
        one, other = runs.training(variant), published.training(variant)
        assert one is not None and other is not None
        pd.testing.assert_frame_equal(one, other)
    assert runs.grid("wo_filter") == published.grid("wo_filter") != []


def replaced(name: str, value: object) -> Change:
    """Another value in the first row of a column."""

    def change(table: pa.Table) -> pa.Table:
        values = [value, *table[name].to_pylist()[1:]]
        return table.set_column(table.column_names.index(name), table.field(name), pa.array(values))

    return change


def dated(table: pa.Table) -> pa.Table:
    """Moments for rows."""
    moments = pa.array([0] * len(table), pa.timestamp("s"))
    return table.set_column(table.column_names.index("row"), "row", moments)


def renamed(old: str, new: str) -> Change:
    def change(table: pa.Table) -> pa.Table:
        files = table.schema.metadata[b"files"].replace(old.encode(), new.encode())
        return table.replace_schema_metadata({"files": files})

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (replaced("model", "grpo"), r"is not its line: there are also \{'model': 'grpo'\}"),
        (replaced("seed", None), "is not its line: there is no seed"),
        (replaced("fields", "row,preferred"), "is not its line: there are also"),
        (replaced("fields", "row,other"), "is not its line: 'other'"),
        (lambda table: table.append_column("judge", pa.array(["x"] * len(table))), "there are also {'judge'"),
        (lambda table: table.append_column("row", table["row"]), "cannot be read"),
        (dated, "is no JSON: Object of type datetime"),
        (lambda table: pa.concat_tables([table, table[:1]]), "has rows that belong to no file"),
        (lambda table: table[1:], "has rows that belong to no file"),
        (renamed("vl_rewardbench/base", "vl_rewardbench/../.."), "does not belong into this table"),
        (renamed("bench/vl_rewardbench/base", "rl"), "does not belong into this table"),
        (renamed('[1', '[-1'), "cannot be read: files without rows"),
        (renamed('[', '{'), "cannot be read"),
    ],
)  # fmt: skip
def test_a_table_that_holds_something_else_than_its_lines_is_refused(
    packed: Path, change: Change, said: str
) -> None:
    file = packed / "bench" / "vl_rewardbench.parquet"
    pq.write_table(change(pq.read_table(file)), file)
    with pytest.raises(ValueError, match=said) as error:
        files = RecordFiles(packed)
        for name in files.names:
            files.content(name)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("kept", [0, 100, -1])
def test_half_a_table_is_named(packed: Path, kept: int) -> None:
    file = packed / "rl" / "metrics.parquet"
    file.write_bytes(file.read_bytes()[:kept])
    with pytest.raises(ValueError, match=r"rl/metrics\.parquet: cannot be read"):
        RecordFiles(packed)


def test_a_file_that_is_there_twice_is_refused(packed: Path) -> None:
    write_atomic(packed / "rl/stable_reinforce/seed_0/metrics.jsonl", "{}\n")
    with pytest.raises(ValueError, match=r"metrics\.jsonl is there twice"):
        RecordFiles(packed)


def test_other_parquet_files_are_files(tmp_path: Path) -> None:
    file = tmp_path / "records" / "own" / "numbers.parquet"
    file.parent.mkdir(parents=True)
    pd.DataFrame({"x": np.arange(3)}).to_parquet(file)
    assert (
        RecordFiles(pack(tmp_path / "records", tmp_path / "packed")).content("own/numbers.parquet")
        == file.read_bytes()
    )
