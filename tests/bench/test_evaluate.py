"""One checkpoint in every mode: what is recorded, and that new weights are judged anew."""

import pytest

from r1reward.bench import evaluate as module
from r1reward.bench.evaluate import evaluate, validate
from r1reward.bench.scoring import read_records
from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.mini.world import write_world
from r1reward.settings import BenchSettings, Profile, WorldSettings
from r1reward.types import Completion

PROFILE = Profile(name="test", sentence="A test.", bench=BenchSettings(sampled_temperature=0.5))


class FirstEngine:
    """Always prefers Response 1."""

    def __init__(self) -> None:
        self.calls = []

    def generate(self, requests, sampling, *, progress=None):
        self.calls.append((len(requests), sampling.temperature))
        text = "<think>because</think><answer>1</answer>"
        return [(Completion(text, (1, 2), (0.0, 0.0), "stop"),) for _ in requests]


@pytest.fixture
def engine(monkeypatch):
    engine = FirstEngine()
    monkeypatch.setattr(module, "load_engine", lambda checkpoint, profile: engine)
    monkeypatch.setattr(module, "identify", lambda checkpoint, profile: str(checkpoint))
    return engine


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, WorldSettings(pairs_per_source=1, benchmark_pairs=10, validation_pairs=1), 0)
    return load_benchmark(folder / "vl_rewardbench")


def test_every_mode_is_recorded_in_both_orders(engine, pairs, tmp_path):
    scores = evaluate("a", pairs, profile=PROFILE, seed=0, work=tmp_path / "w", record=tmp_path / "r")
    assert {mode: score.overall for mode, score in scores.items()} == {
        "greedy": 0.5,
        "sampled": 0.5,
        "blank_greedy": 0.5,
    }
    assert {temperature for _, temperature in engine.calls} == {0.0, 0.5}
    assert [record.verdicts for record in read_records(tmp_path / "r" / "greedy.jsonl")] == ["11"] * 10


def test_judgments_are_reused_for_the_same_weights_only(engine, pairs, tmp_path):
    where = {"profile": PROFILE, "seed": 0, "work": tmp_path / "w", "record": tmp_path / "r"}
    evaluate("a", pairs, modes=["greedy"], **where)
    first = len(engine.calls)
    evaluate("a", pairs, modes=["greedy"], **where)
    assert len(engine.calls) == first
    evaluate("b", pairs, modes=["greedy"], **where)
    assert len(engine.calls) == 2 * first


def test_validation_reports_both_ways_of_answering(engine, pairs, tmp_path):
    outcome = validate("a", pairs, profile=PROFILE, seed=0, work=tmp_path)
    assert outcome["accuracy"] == outcome["accuracy_sampled"] == 0.5
    assert (outcome["answer_one"], outcome["unparsed_share"], outcome["n"]) == (1.0, 0.0, 10)
