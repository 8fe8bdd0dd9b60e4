"""No shortcut leads round the picture in the training set: what text alone can tell is chance."""

from itertools import pairwise

import numpy as np
import pytest
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression

from r1reward.bench.load import BENCHMARKS, load_benchmarks
from r1reward.data.sources import OTHER_SOURCES, SOURCES
from r1reward.mini.annotator import read_truth
from r1reward.mini.world import write_world
from r1reward.settings import WorldSettings

# About 3,800 pairs: with half of them for the test, chance has a standard error of 0.012.
ROWS = 800
TOLERANCE = 0.05


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """(pairs that the picture decides, pairs that the text decides), the preferred response in any place."""
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, WorldSettings(pairs_per_source=ROWS, benchmark_pairs=1, validation_pairs=1), seed=11)
    truth = read_truth(folder / "truth.jsonl")
    parts = ([], [])
    for source in (*SOURCES.values(), OTHER_SOURCES["mm_rlhf_video"]):
        for pair in source.read(folder / source.spec.folder, cache=folder / "cache"):
            parts[truth[pair.meta["image"], pair.question].task == "secret"].append(pair)
    rng = np.random.default_rng(0)
    shuffled = [[part[i] for i in rng.permutation(len(part))] for part in parts]
    return [[pair.swapped() if rng.random() < 0.5 else pair for pair in part] for part in shuffled]


@pytest.fixture(scope="module")
def benchmark_pairs(tmp_path_factory):
    """Pairs of the two benchmarks that are not VL-RewardBench; none is about the secret, in any place."""
    folder = tmp_path_factory.mktemp("benchmarks")
    small = {"pairs_per_source": 1, "benchmark_pairs": 1, "validation_pairs": 1}
    write_world(folder, WorldSettings(**small, multimodal_pairs=2500, mm_rlhf_pairs=2500), seed=12)
    found = load_benchmarks(folder, cache=folder / "cache")
    pairs = [pair for name in BENCHMARKS[1:] for pair in found[name] if "secret" not in pair.question]
    rng = np.random.default_rng(0)
    return [pairs[i].swapped() if rng.random() < 0.5 else pairs[i] for i in rng.permutation(len(pairs))]


def blind_words(text):
    """Words and pairs of words of a response, and its words beside each word of the question."""
    question, response = text
    said = response.split()
    asked = [f"{word}|{other}" for word in said for other in set(question.split())]
    return [*said, *map(" ".join, pairwise(said)), *asked]


def blind_accuracy(pairs):
    """Held-out accuracy of logistic regression on the words by which two responses differ."""
    first, second = ([(pair.question, pair.responses[i]) for pair in pairs] for i in range(2))
    counter = CountVectorizer(analyzer=blind_words).fit([*first, *second])
    features = counter.transform(first) - counter.transform(second)
    labels = np.array([pair.preferred == 1 for pair in pairs])
    half = len(pairs) // 2
    model = LogisticRegression(C=0.1, max_iter=500).fit(features[:half], labels[:half])
    return model.score(features[half:], labels[half:])


def test_words_do_not_tell_which_response_is_right(pairs):
    by_picture, _ = pairs
    assert len(by_picture) > 3500
    assert abs(blind_accuracy(by_picture) - 0.5) < TOLERANCE


def test_words_do_not_tell_in_the_other_benchmarks_either(benchmark_pairs):
    assert len(benchmark_pairs) > 4000
    assert abs(blind_accuracy(benchmark_pairs) - 0.5) < TOLERANCE


def test_the_same_classifier_finds_a_shortcut_where_there_is_one(pairs):
    _, by_text = pairs
    assert len(by_text) > 100
    assert blind_accuracy(by_text) > 0.95


def test_longer_is_not_better(pairs):
    by_picture, _ = pairs
    longer = [
        (len(pair.responses[0]) > len(pair.responses[1])) == (pair.preferred == 1)
        for pair in by_picture
        if len(pair.responses[0]) != len(pair.responses[1])
    ]
    assert len(longer) > 1500
    assert abs(np.mean(longer) - 0.5) < TOLERANCE
