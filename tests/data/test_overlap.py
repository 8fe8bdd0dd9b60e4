from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.data.build import BuiltData, build_dataset
from r1reward.data.index import training_source
from r1reward.data.sources import SOURCES
from r1reward.files import read_jsonl
from r1reward.types import PreferencePair

SOURCE = {"povid": SOURCES["povid"]}


@pytest.fixture
def benchmark(world: Path, tmp_path: Path) -> list[PreferencePair]:
    """Five pairs like training pairs 0 to 4: the first two wholly, the third but for its picture's bytes."""
    pairs = list(SOURCES["povid"].read(world / "povid"))[:5]
    again = tmp_path / "again.png"
    again.write_bytes(Path(pairs[2].images[0]).read_bytes() + b"more")
    changed = [
        replace(pairs[0], question=pairs[0].question.upper()),
        pairs[1].swapped(),
        replace(pairs[2], images=(str(again),)),
        replace(pairs[3], responses=("another answer", "a third")),
        replace(pairs[4], question="another question"),
    ]
    return [replace(pair, pair_id=f"b-{i}", source="bench") for i, pair in enumerate(changed)]


def build(world: Path, out: Path, benchmark: list[PreferencePair], overlap: str = "report") -> BuiltData:
    options = {"sampled_pairs": 100, "seed": 0, "sources": SOURCE, "benchmark": benchmark}
    return build_dataset(world, out, overlap=overlap, **options)  # type: ignore[arg-type]


def test_overlap_is_reported_by_kind(world: Path, tmp_path: Path, benchmark: list[PreferencePair]) -> None:
    built = build(world, tmp_path / "out", benchmark)
    assert built.sources["povid"]["overlap"] == {"pair": 2, "question": 1, "texts": 1}
    assert len(built) == 40
    assert [
        (row["pair_id"], row["kind"], row["original"]) for row in read_jsonl(tmp_path / "out/overlap.jsonl")
    ] == [
        ("povid-000000", "pair", "b-0"),
        ("povid-000001", "pair", "b-1"),
        ("povid-000002", "texts", "b-2"),
        ("povid-000003", "question", "b-3"),
    ]


def test_whole_pairs_are_removed_if_asked(
    world: Path, tmp_path: Path, benchmark: list[PreferencePair]
) -> None:
    built = build(world, tmp_path / "out", benchmark, "remove")
    ids = {pair.pair_id for pair in built}
    assert len(ids) == 38 and not ids & {"povid-000000", "povid-000001"}
    assert built.sources["povid"]["usable"] == 38 and built.sources["povid"]["duplicates"] == {}
    assert (tmp_path / "out/duplicates.jsonl").read_text() == ""


def test_another_benchmark_makes_another_build(
    world: Path, tmp_path: Path, benchmark: list[PreferencePair]
) -> None:
    assert build(world, tmp_path / "out", benchmark).sources["povid"]["overlap"]["pair"] == 2
    assert build(world, tmp_path / "out", benchmark[1:]).sources["povid"]["overlap"]["pair"] == 1


def test_the_mini_benchmark_shares_no_picture_with_the_training_data(world: Path, tmp_path: Path) -> None:
    pairs = load_benchmark(world / "vl_rewardbench", cache=tmp_path / "pictures")
    built = build_dataset(world, tmp_path, sampled_pairs=120, seed=0, benchmark=pairs)
    assert all(set(counts["overlap"]) <= {"texts"} for counts in built.sources.values())


def test_vl_rewardbench_shares_its_sources_with_the_training_data(real_data: Path) -> None:
    path = real_data / "r1_reward" / "vl_reward_bench_data.jsonl"
    names = [training_source(row["id"]) for row in read_jsonl(path)]
    counts = Counter(name for name in names if name)
    assert counts == {"povid": 448, "rlaif_v": 233, "wildvision_battle": 173, "vl_feedback": 10}
    assert counts.total() == 864 and len(names) == 1250
