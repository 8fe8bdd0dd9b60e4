"""The world writes the original schemas; the real loaders read them back."""

import re
from collections import Counter

import numpy as np
import pytest

from r1reward.bench.load import BENCHMARKS, load_benchmarks
from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.benchmarks import GROUP_COUNTS, MM_RLHF, MULTIMODAL
from r1reward.data.rows import Quarantine
from r1reward.data.sources import OTHER_SOURCES, SOURCES, mm_rlhf
from r1reward.files import sha256_file
from r1reward.mini.annotator import read_truth
from r1reward.mini.tasks import FLOURISHES, LONG_DESCRIPTION, fewer_wrong, read_claims
from r1reward.mini.world import write_world
from r1reward.mini.world.benchmark import MOST_PAIRS
from r1reward.mini.world.sources import (
    LETTERS,
    SIZES,
    multiple_choice,
    respond,
    subset_sizes,
)
from r1reward.settings import WorldSettings

SUBSETS = [f"mm_rlhf_{subset}" for subset in mm_rlhf.COUNTS]
SETTINGS = WorldSettings(pairs_per_source=40, benchmark_pairs=60, validation_pairs=20)


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, SETTINGS, seed=3)
    return folder


ALL = {**SOURCES, "mm_rlhf_video": OTHER_SOURCES["mm_rlhf_video"]}


@pytest.mark.parametrize("names", [["rlaif_v"], ["vl_feedback"], ["povid"], ["wildvision_battle"], SUBSETS])
def test_sources_are_read_by_the_real_loaders(world, names, tmp_path):
    quarantine, pairs = Quarantine(), []
    for name in names:
        pairs += SOURCES[name].read(world / SOURCES[name].spec.folder, cache=tmp_path, quarantine=quarantine)
    dropped = sum(quarantine.counts[name]["dropped"].total() for name in names)
    assert len(pairs) + dropped == SETTINGS.pairs_per_source
    assert (dropped > 0) == (names == ["wildvision_battle"])
    assert not any(quarantine.counts[name]["refused"] for name in names)
    assert {pair.preferred for pair in pairs} == {1}


def test_subsets_of_mm_rlhf_have_the_proportions_of_table_2():
    assert SIZES == mm_rlhf.COUNTS
    assert subset_sizes(1000) == {"long": 389, "short": 439, "mcq": 78, "safety": 94}
    assert subset_sizes(1) == {"long": 0, "short": 1, "mcq": 0, "safety": 0}


def wrong_claims(truth, pair):
    """How many claims of each response the picture does not bear out."""
    known = truth[pair.meta["image"], pair.question]
    right = [value.split()[-1] for _, value in known.facts]
    return [
        sum(one != other for one, other in zip(right, read_claims(known.task, text), strict=True))
        for text in pair.responses
    ]


def test_the_chosen_response_has_fewer_wrong_claims(world, tmp_path):
    """Mostly none; of long lists, some preferred responses are wrong too, once less than the others."""
    truth, wrong = read_truth(world / "truth.jsonl"), Counter()
    for name, source in ALL.items():
        for pair in source.read(world / source.spec.folder, cache=tmp_path / name):
            chosen, rejected = wrong_claims(truth, pair)
            assert chosen < rejected
            wrong[chosen] += 1
    assert wrong.keys() == {0, 1} and 0.02 < wrong[1] / wrong.total() < 0.12


def test_so_many_labels_are_wrong(tmp_path):
    """Labels of the training sources, none of them of a benchmark."""
    settings = SETTINGS.model_copy(update={"label_noise": 0.25, "pairs_per_source": 120})
    write_world(tmp_path, settings, seed=3)
    truth, turned = read_truth(tmp_path / "truth.jsonl"), Counter()
    for name, source in ALL.items():
        for pair in source.read(tmp_path / source.spec.folder, cache=tmp_path / "cache" / name):
            chosen, rejected = wrong_claims(truth, pair)
            turned[name, chosen > rejected] += 1
    for name in ("rlaif_v", "povid", "wildvision_battle", "mm_rlhf_short"):
        share = turned[name, True] / (turned[name, True] + turned[name, False])
        assert 0.12 < share < 0.4, name
    total = sum(count for (_, wrong), count in turned.items() if wrong) / turned.total()
    assert 0.18 < total < 0.32


def test_a_response_may_end_with_a_flourish_whatever_it_claims():
    rng = np.random.default_rng(0)
    shown = Counter()
    for _ in range(600):
        case = LONG_DESCRIPTION(rng)
        chosen, rejected = respond(case, rng)
        shown["right"] += chosen.endswith(FLOURISHES)
        shown["wrong"] += rejected.endswith(FLOURISHES)
        claims = [read_claims("describe", text) for text in (chosen, rejected)]
        marks = [
            tuple(said != true for said in both)
            for true, *both in zip(case.right_values(), *claims, strict=True)
        ]
        assert fewer_wrong(marks) == 1
    assert all(abs(count / 600 - 0.4) < 0.08 for count in shown.values())


def test_the_other_benchmarks_are_read_by_the_real_loaders(world, tmp_path):
    """Every column and group is there; pictures are of the test split; questions have several pairs."""
    found = load_benchmarks(world, cache=tmp_path)
    assert list(found) == list(BENCHMARKS)
    sizes = {MULTIMODAL: SETTINGS.multimodal_pairs, MM_RLHF: SETTINGS.mm_rlhf_pairs}
    for name, size in sizes.items():
        assert len(found[name]) == size
        groups, total = Counter(pair.category for pair in found[name]), sum(GROUP_COUNTS[name].values())
        shares = {group: count / total for group, count in GROUP_COUNTS[name].items()}
        assert groups.keys() == shares.keys()
        assert all(abs(groups[group] / size - share) < 0.03 for group, share in shares.items())
    pairs = found["mm_rlhf_rewardbench"]
    sizes = Counter(pair.meta["question"] for pair in pairs)
    assert max(sizes.values()) == MOST_PAIRS and {1, 2, 3} <= set(sizes.values())
    assert len({(pair.meta["question"], pair.responses) for pair in pairs}) == len(pairs)
    assert all(len(pair.frames) == 2 for pair in pairs if pair.category == "video")
    swapped = [pair.preferred == 1 for pair in found["multimodal_rewardbench"]]
    assert 0.4 < np.mean(swapped) < 0.6


def test_options_and_letters_belong_together():
    rng = np.random.default_rng(0)
    chosen_letters, places = Counter(), Counter()
    for _ in range(600):
        case, chosen, rejected = multiple_choice(rng)
        options = dict(re.findall(r"([A-D]) : (\w+)", case.question))
        assert list(options) == list(LETTERS) and len(set(options.values())) == 4
        letters = [response[0] for response in (chosen, rejected)]
        claims = [read_claims(case.task, response) for response in (chosen, rejected)]
        assert [[options[letter]] for letter in letters] == claims == [case.right_values(), list(case.wrong)]
        chosen_letters[letters[0]] += 1
        places[letters[0] < letters[1]] += 1
    assert max(abs(count / 600 - 0.25) for count in chosen_letters.values()) < 0.08
    assert abs(places[True] / 600 - 0.5) < 0.08


def test_frames_of_a_video_differ(world, tmp_path):
    pairs = list(ALL["mm_rlhf_video"].read(world / "mm_rlhf", cache=tmp_path))
    assert len(pairs) == 5 and all(len({*map(sha256_file, pair.frames)}) == 2 for pair in pairs)


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
