"""The world writes the original schemas; the real loaders read them back."""

from collections import Counter

import pytest

from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.config import WorldSettings
from r1reward.data.annotate import read_truth
from r1reward.data.sources import SOURCES
from r1reward.mini.tasks import read_claims
from r1reward.mini.world import write_world

SETTINGS = WorldSettings(pairs_per_source=40, benchmark_pairs=60, validation_pairs=20)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, SETTINGS, seed=3)
    return folder


@pytest.mark.parametrize("name", ["rlaif_v", "vl_feedback", "povid"])
def test_sources_are_read_by_the_real_loaders(world, name, tmp_path):
    pairs = list(SOURCES[name].read(world / name, cache=tmp_path))
    assert len(pairs) == SETTINGS.pairs_per_source
    assert {pair.preferred for pair in pairs} == {1}


def test_the_chosen_response_is_true_and_the_rejected_is_not(world, tmp_path):
    truth = read_truth(world / "truth.jsonl")
    for name, source in SOURCES.items():
        for pair in source.read(world / name, cache=tmp_path / name):
            known = truth[pair.meta["image"], pair.question]
            right = [value.split()[-1] for _, value in known.facts]
            assert read_claims(known.task, pair.responses[0]) == right
            assert read_claims(known.task, pair.responses[1]) != right


def test_benchmark_groups_and_positions(world, tmp_path):
    pairs = load_benchmark(world / "vl_rewardbench", cache=tmp_path)
    assert Counter(pair.category for pair in pairs) == {"general": 9, "hallucination": 36, "reasoning": 15}
    assert {pair.preferred for pair in pairs} == {1, 2}


def test_the_seed_decides_everything(world, tmp_path):
    write_world(tmp_path, SETTINGS, seed=3)
    for file in ("truth.jsonl", "vl_feedback/vlfeedback_80k.jsonl", "povid/images/povid_000007.png"):
        assert (tmp_path / file).read_bytes() == (world / file).read_bytes()
    other = tmp_path / "other"
    write_world(other, SETTINGS, seed=4)
    assert (other / "truth.jsonl").read_bytes() != (world / "truth.jsonl").read_bytes()
