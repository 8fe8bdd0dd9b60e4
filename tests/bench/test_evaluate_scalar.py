"""A reward model with a head leaves the records of a generative judge."""

import math
import shutil
from collections import defaultdict
from dataclasses import replace
from functools import partial

import pytest
from PIL import Image

from r1reward.bench import evaluate as module
from r1reward.bench.evaluate import evaluate_scalar, verdict_of
from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.engines import EngineError
from r1reward.files import read_jsonl
from r1reward.judge.scalar import ResponseScore, new_reward_model
from r1reward.mini.world import write_world
from r1reward.scoring import read_records, score
from r1reward.settings import BenchSettings, EngineSettings, ModelSettings, Profile, WorldSettings
from r1reward.types import Verdict

PROFILE = Profile(
    name="test",
    sentence="A test.",
    model=ModelSettings(max_pixels=12544),
    engine=EngineSettings(batch_size=8, max_new_tokens=4),
)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_world(folder, WorldSettings(pairs_per_source=1, benchmark_pairs=6, validation_pairs=1), 0)
    return load_benchmark(folder / "vl_rewardbench")


@pytest.fixture
def checkpoint(tmp_path):
    model, processor = new_reward_model("mini", kind="scalar", seed=0)
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_the_higher_score_wins() -> None:
    assert (verdict_of(1.0, 0.5), verdict_of(-2.0, -1.0)) == (Verdict.FIRST, Verdict.SECOND)
    assert verdict_of(0.5, 0.5) == verdict_of(float("nan"), 0.5) == Verdict.UNPARSED


def test_both_orders_are_one_judgment_and_records_are_scored_as_any(checkpoint, pairs, tmp_path) -> None:
    where = {"work": tmp_path / "work", "record": tmp_path / "record"}
    scores = evaluate_scalar(checkpoint, pairs, profile=PROFILE, **where)
    for mode in ("greedy", "blank_greedy"):
        records = read_records(tmp_path / f"record/{mode}.jsonl")
        assert [record.preferred for record in records] == [pair.preferred for pair in pairs]
        assert {record.verdicts for record in records} <= {"12", "21"}
        assert score(records) == scores[mode]
        assert scores[mode].order_consistency == 1.0 and scores[mode].answer_one == 0.5
    by_row = defaultdict(dict)
    for line in read_jsonl(tmp_path / "work/greedy/texts.jsonl"):
        by_row[line["row"]][line["order"]] = line["scores"]
    for record in read_records(tmp_path / "record/greedy.jsonl"):
        first, second = by_row[record.row]["given"]
        assert by_row[record.row]["swapped"] == [second, first]
        assert record.verdicts == ("12" if first > second else "21")
    greedy = [scores["given"] for scores in by_row.values()]
    blank = [line["scores"] for line in read_jsonl(tmp_path / "work/blank_greedy/texts.jsonl")]
    assert greedy != blank[::2]


@pytest.mark.parametrize("policy", ["wrong", "drop"])
def test_ties_are_no_verdict_and_tokens_are_those_of_both_critiques(
    checkpoint, pairs, tmp_path, monkeypatch, policy
) -> None:
    """A tie counts as the profile says, in the scores and in the record that is reported from."""

    def same_score(model, processor, requests, **_):
        return [ResponseScore(1.0, "so so", 2 + index % 2) for index in range(len(requests))]

    monkeypatch.setattr(module, "score_responses", same_score)
    where = {"work": tmp_path / "work", "record": tmp_path / "record"}
    profile = PROFILE.model_copy(update={"bench": BenchSettings(unparsed=policy)})
    (scores,) = evaluate_scalar(checkpoint, pairs, profile=profile, modes=["greedy"], **where).values()
    assert scores.unparsed == 1.0
    assert scores.accuracy == 0.0 if policy == "wrong" else math.isnan(scores.accuracy)
    records = read_records(tmp_path / "record/greedy.jsonl")
    assert {(record.tokens, record.unparsed) for record in records} == {
        ((5, 5), "" if policy == "wrong" else policy)
    }


def test_what_is_scored_is_not_scored_again(checkpoint, pairs, tmp_path, monkeypatch) -> None:
    where = {"work": tmp_path / "work", "record": tmp_path / "record"}
    before = evaluate_scalar(checkpoint, pairs, profile=PROFILE, modes=["greedy"], **where)

    def refuse(*_, **__):
        raise AssertionError("scored again")

    monkeypatch.setattr(module, "score_responses", refuse)
    assert before == evaluate_scalar(checkpoint, pairs, profile=PROFILE, modes=["greedy"], **where)
    other, _ = new_reward_model("mini", kind="scalar", seed=1)
    other.save_pretrained(checkpoint)
    with pytest.raises(AssertionError, match="scored again"):
        evaluate_scalar(checkpoint, pairs, profile=PROFILE, modes=["greedy"], **where)


def test_a_row_that_cannot_be_asked_costs_itself(checkpoint, pairs, tmp_path, caplog) -> None:
    """Its neighbours are scored as without it, and once it can be asked the same call asks it again."""
    where = {"work": tmp_path / "work", "record": tmp_path / "record"}
    run = partial(evaluate_scalar, checkpoint, profile=PROFILE, modes=["greedy"], **where)
    picture = tmp_path / "picture.png"
    Image.new("RGB", (4000, 20)).save(picture)
    run([*pairs[:2], replace(pairs[2], images=(str(picture),)), *pairs[3:]])
    found = read_records(tmp_path / "record/greedy.jsonl")
    assert [(one.verdicts, one.not_asked) for one in found if one.not_asked] == [("uu", 2)]
    assert "2 of 12 judgments could not be asked" in caplog.text and found[2].tokens == (0, 0)
    shutil.copy(pairs[2].images[0], picture)
    run([*pairs[:2], replace(pairs[2], images=(str(picture),)), *pairs[3:]])
    mended = read_records(tmp_path / "record/greedy.jsonl")
    assert mended[:2] + mended[3:] == found[:2] + found[3:] and mended[2].not_asked == 0
    assert mended[2].verdicts in ("12", "21")
    Image.new("RGB", (4000, 20)).save(picture)
    with pytest.raises(EngineError, match="nothing could be asked"):
        run([replace(pair, images=(str(picture),)) for pair in pairs])
