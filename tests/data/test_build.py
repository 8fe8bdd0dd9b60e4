from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.data.build import balance_positions, build_dataset
from r1reward.types import PreferencePair


def _pairs(count: int) -> list[PreferencePair]:
    return [PreferencePair(f"p-{i}", "p", f"q{i}", (f"right {i}", f"wrong {i}"), 1) for i in range(count)]


@given(count=st.integers(0, 60), seed=st.integers(0, 2**32))
def test_positions_are_balanced_and_nothing_else_changes(count: int, seed: int) -> None:
    pairs = _pairs(count)
    balanced = balance_positions(pairs, rng=np.random.default_rng(seed))
    counts = Counter(pair.preferred for pair in balanced)
    assert abs(counts[1] - counts[2]) <= 1
    restored = [pair.swapped() if pair.preferred == 2 else pair for pair in balanced]
    assert restored == pairs


def test_the_odd_one_falls_on_either_side() -> None:
    sides = {
        Counter(p.preferred for p in balance_positions(_pairs(3), rng=np.random.default_rng(seed)))[1]
        for seed in range(20)
    }
    assert sides == {1, 2}


def test_a_pair_with_the_wrong_response_first_is_refused() -> None:
    with pytest.raises(ValueError, match="p-0"):
        balance_positions([_pairs(1)[0].swapped()], rng=np.random.default_rng(0))


def test_build_samples_the_pool_and_balances_each_source(world: Path, tmp_path: Path) -> None:
    built = build_dataset(world, sampled_pairs=71, seed=3, cache=tmp_path)
    assert len(built.pairs) == 71 == sum(counts["sampled"] for counts in built.sources.values())
    assert len({pair.pair_id for pair in built.pairs}) == 71
    for name, counts in built.sources.items():
        own = Counter(pair.preferred for pair in built.pairs if pair.source == name)
        assert own.total() == counts["sampled"] and abs(own[1] - own[2]) <= 1
    rows = {name: counts["original"] for name, counts in built.sources.items()}
    assert sum(rows.values()) == 5 * 40 and rows["povid"] == rows["wildvision_battle"] == 40
    assert sum(built.positions.values()) == 71
    assert len(list((tmp_path / "rlaif_v").iterdir())) == built.sources["rlaif_v"]["sampled"]
    assert [pair.source for pair in built.pairs] != sorted(pair.source for pair in built.pairs)


def test_the_same_seed_builds_the_same_data(world: Path, tmp_path: Path) -> None:
    def build(seed: int) -> tuple[PreferencePair, ...]:
        return build_dataset(world, sampled_pairs=50, seed=seed, cache=tmp_path).pairs

    assert build(1) == build(1) != build(2)


def test_asking_for_more_than_there_is_takes_everything(world: Path, tmp_path: Path) -> None:
    built = build_dataset(world, sampled_pairs=10_000, seed=0, cache=tmp_path)
    dropped = sum(sum(counts["dropped"].values()) for counts in built.sources.values())
    assert len(built.pairs) == 5 * 40 - dropped and dropped > 0


def test_a_missing_source_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="rlaif_v"):
        build_dataset(tmp_path, sampled_pairs=1, seed=0)
