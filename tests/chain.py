"""The smoke chain's records against what the profile asked for, computed here from the files themselves.

A module of functions that each look at one part of a finished run and return nothing; a contradiction is an
AssertionError.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from r1reward.bench.evaluate import describe_answers
from r1reward.bench.judging import ORDERS
from r1reward.config import load_profile
from r1reward.data.cold_start import SHARE
from r1reward.data.storage import read_pairs, read_sft
from r1reward.engines import Sampling, identify, load_engine
from r1reward.engines.loading import weights_hash
from r1reward.files import read_json, read_jsonl, sha256_file
from r1reward.judge.consistency_judges import ModelConsistencyJudge
from r1reward.judge.generative import judge_samples
from r1reward.parsing import parse_verdict
from r1reward.train.annotators import ARMS
from r1reward.train.grid import VARIANTS

PROFILE = load_profile("smoke")
STABLE = {"algorithm": "stable_reinforce", "pre_clip": 1e3, "advantage_limit": 3.0}
PLUS = {"algorithm": "reinforce_pp", "pre_clip": "off", "advantage_limit": "off"}
# The settings that formulas of notebook 03 take the place of, and what these call them.
FORMULAS = {
    "stable_reinforce": {"consistency_weight": "weight", "advantage_limit": "sigmas", "pre_clip": "delta"},
    "reinforce_pp": {"consistency_weight": "weight"},
}


def data_is_what_the_profile_asks_for(run: Path) -> None:
    """Sizes, attempts, and an overlap check against every benchmark."""
    data, card = run / "work/data", read_json(run / "work/data/built/data_card.json")
    world, settings = PROFILE.world, PROFILE.data
    sizes = {
        "vl_rewardbench": world.benchmark_pairs,
        "multimodal_rewardbench": world.multimodal_pairs,
        "mm_rlhf_rewardbench": world.mm_rlhf_pairs,
    }
    found = {file.stem: len(read_pairs(file)) for file in (data / "benchmarks").glob("*.jsonl")}
    assert found == sizes and card["benchmark"]["pairs"] == sum(sizes.values())
    assert (card["sampled_pairs"], card["overlap"]) == (settings.sampled_pairs, settings.overlap)
    assert len(read_pairs(data / "validation.jsonl")) == world.validation_pairs
    attempts = [row["attempts"] for row in read_jsonl(data / "annotations.jsonl")]
    assert max(attempts) == settings.max_attempts
    record = read_json(run / "records/data.json")
    assert record["annotator_record"].items() >= settings.script.model_dump().items()
    assert record["rl_examples"] == len(read_pairs(data / "rl.jsonl")) > 0


def easy_and_hard_pairs_are_apart(run: Path) -> None:
    """Easy: right at the first attempt; hard: later or never."""
    rows = {row["pair_id"]: row for row in read_jsonl(run / "work/data/annotations.jsonl")}
    easy, hard = (
        [rows[pair.pair_id] for pair in read_pairs(run / f"work/data/{name}.jsonl")]
        for name in ("easy", "rl")
    )
    assert easy and all(row["reached"] and row["attempts"] == 1 for row in easy)
    assert hard and not any(row["reached"] and row["attempts"] == 1 for row in hard)


def the_base_model_was_asked_so_often(run: Path) -> None:
    """Cases a skill; some skills ask several questions about a case."""
    counts = {skill: entry["n"] for skill, entry in read_json(run / "records/base.json").items()}
    assert min(counts.values()) == PROFILE.bench.perception_cases


def cold_starts_learn_from_the_cold_start_data(run: Path) -> None:
    """From the base model, by the settings of `sft`; what is saved is what is recorded."""
    status = read_json(run / "records/sft/seed_0/status.json")
    known = {"sft": PROFILE.sft.model_dump(mode="json"), "seed": 0}
    known |= {"start": weights_hash("mini"), "examples": sha256_file(run / "work/data/sft.jsonl")}
    assert status["run"].items() >= known.items()
    assert status["weights"] == weights_hash(run / "work/sft/seed_0/model")


def each_validation_is_of_its_own_judge(run: Path) -> None:
    """Cold starts and two annotators' students: who was asked, and what the record says of the answers."""
    pairs = read_pairs(run / "work/data/validation.jsonl")
    for stage in ("sft", "annotators/strong", "annotators/weak"):
        folder = run / f"work/{stage}/seed_0"
        asked = read_json(folder / "validation/sampled/run.json")["model"]
        assert asked == identify(folder / "model", PROFILE), stage
        said = describe_answers(pairs, read_jsonl(folder / "validation/sampled/texts.jsonl"))
        found = read_json(run / f"records/{stage}/seed_0/validation.json")
        assert found.items() >= said.items(), stage


def each_annotator_s_student_learns_from_its_own_answers(run: Path) -> None:
    """The strong one's are the cold start's; weak ones learnt the lessons, each in its own words."""
    study = run / "work/annotators"
    lessons = sha256_file(study / "lessons.jsonl")
    for prompt in ("mini", "reworded"):
        status = read_json(study / f"annotator_{prompt}/seed_0/status.json")
        assert (status["run"]["examples"], status["run"]["model"]["prompt"]) == (lessons, prompt)
    for arm in ARMS:
        folder, record = study / arm / "seed_0", run / f"records/annotators/{arm}/seed_0"
        answers = run / "work/data" if arm == "strong" else folder
        said = {row["pair_id"]: row["answers"][-1] for row in read_jsonl(answers / "annotations.jsonl")}
        learnt = read_sft(folder / "sft.jsonl")
        assert all(one.completion == said[one.pair.pair_id] for one in learnt), arm
        about = read_json(record / "annotation.json")
        expected = (arm, PROFILE.annotators.pairs, len(learnt))
        assert (about["arm"], about["pairs"], about["examples"]) == expected
        assert about["annotator"] == ("scripted" if arm in ("strong", "ideal") else "model")
        assert arm != "ideal" or about["first_attempt_accuracy"] == 1
        if learnt:
            status = read_json(record / "status.json")["run"]
            assert status["examples"] == sha256_file(folder / "sft.jsonl")
            assert (status["start"], status["model"]["prompt"]) == (weights_hash("mini"), "mini")


def judge_of(run: Path, name: str) -> str:
    """The fingerprint of a judge of Table 13."""
    if name == "random":
        return "random, seed 0"
    if name == "noisy":
        return f"0.25 flipped by 0: {judge_of(run, 'strong')}"
    return ModelConsistencyJudge(run / "work/judges" / name / "model").fingerprint


def two_consistency_judges_learnt_different_amounts(run: Path) -> None:
    """And both were tested on at most two opinions about each validation pair."""
    for name in ("strong", "weak"):
        examples = read_jsonl(run / "work/judges" / name / "examples.jsonl")
        assert len(examples) == getattr(PROFILE.judges, name).examples
        measured = read_json(run / "records/judges.json")[name]["n"]
        assert measured <= 2 * len(read_pairs(run / "work/data/validation.jsonl")), name
    assert judge_of(run, "strong") != judge_of(run, "weak")


def rl_arms_are_what_they_are_called(run: Path) -> None:
    """Both arms of notebook 03: own algorithm, same start, pairs, judge and everything else."""
    shared = {
        "consistency_judge": judge_of(run, "strong"), "seed": 0,
        "consistency_weight": PROFILE.rl.consistency_weight,
        "external_consistency": False, "prompt": PROFILE.model.prompt,
        "items": len(read_pairs(run / "work/data/rl.jsonl")),
    }  # fmt: skip
    for name, algorithm in (("stable_reinforce", STABLE), ("reinforce_pp", PLUS)):
        status = read_json(run / f"records/rl/{name}/seed_0/status.json")
        asked, formulas = status["run"], status["used"].pop("formulas")
        assert status["used"] == {**algorithm, **shared, **dict.fromkeys(FORMULAS[name], "own formula")}
        values = {key: value for one in formulas.values() for key, value in one["values"].items()}
        wanted = {"weight": PROFILE.rl.consistency_weight, "sigmas": 3.0, "delta": 1e3}
        assert all(wanted[key] == values[key] for key in FORMULAS[name].values())
        assert "answers.result * (1 + weight * answers.consistency)" in formulas["reward"]["source"]
        assert asked["rl"] == PROFILE.rl.model_dump(mode="json") | {"algorithm": name}
        assert asked["start"] == weights_hash(run / "work/sft/seed_0/model")
        assert asked["pairs"] == sha256_file(run / "work/data/rl.jsonl")
        assert status["weights"] == weights_hash(run / f"work/rl/{name}/seed_0/model")


def the_control_takes_the_time_of_stable_reinforce(run: Path) -> None:
    """SFT goes on from the cold start for as many updates as fit into the RL run's processor time."""
    status = read_json(run / "records/rl/sft_continued/seed_0/status.json")
    steps = read_jsonl(run / "records/rl/stable_reinforce/seed_0/metrics.jsonl")
    seconds = sum(row["cpu_seconds"] for row in steps)
    pace = read_jsonl(run / "records/sft/seed_0/metrics.jsonl")[-1]
    assert status["step"] == max(1, round(seconds / pace["cpu_seconds"] * pace["step"]))
    assert status["run"]["start"] == weights_hash(run / "work/sft/seed_0/model")
    assert status["run"]["examples"] == sha256_file(run / "work/data/sft.jsonl")
    assert status["run"]["sft"]["max_examples"] is None


def reward_models_have_their_kind(run: Path) -> None:
    """A head on the base model, from the cold start's pairs."""
    for kind in ("scalar", "critique"):
        asked = read_json(run / f"records/rl/{kind}/seed_0/status.json")["run"]
        assert (asked["kind"], asked["start"]) == (kind, weights_hash("mini"))
        assert asked["reward_model"] == PROFILE.reward_model.model_dump(mode="json")
        assert asked["examples"] == sha256_file(run / "work/data/sft.jsonl")


def the_grid_s_arms_are_what_they_are_called(run: Path) -> None:
    """Every variant of `core` that notebook 03 has not run: judged weights, judge, start, pairs."""
    names = {variant.name for variant in VARIANTS.values() if variant.core} - {
        "stable_reinforce",
        "reinforce_pp",
    }
    assert {path.name for path in (run / "records/grid").iterdir()} == names
    for name in names:
        about, variant = read_json(run / f"records/grid/{name}/seed_0/run.json"), VARIANTS[name]
        if about["status"] == "identical":
            assert about["same_as"] in ("stable_reinforce", "reinforce_pp") and variant.judge == "strong"
            continue
        assert about["settings"] == variant.settings(PROFILE.rl).model_dump(mode="json"), name
        used = about["used"]
        assert used["consistency_judge"] == judge_of(run, variant.judge), name
        assert used["start"] == weights_hash(run / "work/sft/seed_0/model")
        assert used["pairs"] == sha256_file(run / "work/data/rl.jsonl")
        assert about["model"] == weights_hash(run / f"work/grid/{name}/seed_0/model")
        steps = read_jsonl(run / f"records/grid/{name}/seed_0/metrics.jsonl")
        # Where no answer of the smoke run earned anything, nothing was learnt.
        assert (about["model"] != used["start"]) is any(step["update_to_weight"] > 0 for step in steps)


def greedy_and_sampled_answers_are_not_exchanged(run: Path) -> None:
    """Asked again here: the verdicts of the record, and one answer of each way is another."""
    pairs = read_pairs(run / "work/data/benchmarks/vl_rewardbench.jsonl")[:6]
    for name, mode in product(("sft", "stable_reinforce"), ("greedy", "sampled")):
        place = run / "work/sft" if name == "sft" else run / "work/rl" / name
        engine = load_engine(place / "seed_0/model", PROFILE)
        both = [pair for given in pairs for pair in (given, given.swapped())]
        sampling = Sampling(PROFILE.engine.max_new_tokens, temperature=0.0)
        judged = judge_samples(engine, both, prompt=PROFILE.model.prompt, sampling=sampling)
        texts = [one.completion.text for (one,) in judged]
        kept = read_jsonl(run / f"work/bench/vl_rewardbench/{name}/seed_0/{mode}/texts.jsonl")
        said = {(row["row"], row["order"]): row["text"] for row in kept}
        asked = [said[row, order] for row in range(len(pairs)) for order in ORDERS]
        assert (asked == texts) is (mode == "greedy"), f"{name}, {mode}"
        marks = ["".join(_mark(text) for text in texts[at : at + 2]) for at in range(0, len(texts), 2)]
        record = read_jsonl(run / f"records/bench/vl_rewardbench/{name}/seed_0/{mode}.jsonl")
        if mode == "greedy":
            assert [row["verdicts"] for row in record[: len(pairs)]] == marks


def _mark(text: str) -> str:
    return {"1": "1", "2": "2"}.get(parse_verdict(text).value, "u")


def votes_ratings_and_policies_have_their_sizes(run: Path) -> None:
    """Counted in the records: `scaling`, `rating` and `downstream`."""
    pool = read_jsonl(run / "records/scaling/vl_rewardbench/stable_reinforce/seed_0/pool.jsonl")
    rows = [row for row in pool if "verdicts" in row]
    assert {len(marks) for row in rows for marks in row["verdicts"]} == {PROFILE.scaling.samples}
    assert len(rows) == pytest.approx(PROFILE.scaling.pairs, abs=4)
    rated = read_jsonl(run / "records/reasoning/scripted.jsonl")
    assert len({row["rater"] for row in rated}) == PROFILE.rating.raters
    assert len(rated) == PROFILE.rating.raters * PROFILE.rating.items
    settings, records = PROFILE.downstream, run / "records/downstream"
    asked = {
        place: read_jsonl(records / place / "seed_0/MMStar.jsonl") for place in ("trained", "trained_sampled")
    }
    # The mini world stands in for `root`.
    assert len(asked["trained"]) == settings.questions
    assert len(asked["trained_sampled"]) == settings.draws * settings.questions
    assert len(read_jsonl(run / "work/downstream/lessons.jsonl")) == settings.lessons
    status = read_json(records / "training/seed_0/status.json")
    assert status["run"]["rl"] == settings.rl.model_dump(mode="json")
    assert status["used"]["items"] <= settings.prompts


def so_many_pairs_were_steered(run: Path) -> None:
    """Two orders of each, whatever the kind of attack."""
    for file in (run / "records/steering").glob("*/seed_0.json"):
        lengths = {len(marks) for marks in _strings(read_json(file)) if set(marks) <= set("01u")}
        assert lengths == {2 * PROFILE.bench.steered_pairs}, file


def the_hardened_judge_learns_from_a_share_of_such_texts(run: Path) -> None:
    """The cold start's examples, some with another response."""
    before, after = (read_sft(run / f"work/{name}.jsonl") for name in ("data/sft", "steering/hardened"))
    changed = sum(
        one.pair.responses != other.pair.responses for one, other in zip(before, after, strict=True)
    )
    assert changed == round(SHARE * len(before))


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _strings(inner)


def every_notebook_ran_under_its_name_and_seed(run: Path) -> None:
    """Manifests name profile and seeds."""
    manifests = [json.loads(file.read_text()) for file in (run / "manifests").glob("[0-9]*.json")]
    assert run.name == PROFILE.name and manifests
    assert all(one["seeds"] == list(range(PROFILE.seeds)) for one in manifests)


PARTS = (
    data_is_what_the_profile_asks_for,
    easy_and_hard_pairs_are_apart,
    the_base_model_was_asked_so_often,
    cold_starts_learn_from_the_cold_start_data,
    each_annotator_s_student_learns_from_its_own_answers,
    each_validation_is_of_its_own_judge,
    two_consistency_judges_learnt_different_amounts,
    rl_arms_are_what_they_are_called,
    the_control_takes_the_time_of_stable_reinforce,
    reward_models_have_their_kind,
    the_grid_s_arms_are_what_they_are_called,
    greedy_and_sampled_answers_are_not_exchanged,
    votes_ratings_and_policies_have_their_sizes,
    so_many_pairs_were_steered,
    the_hardened_judge_learns_from_a_share_of_such_texts,
    every_notebook_ran_under_its_name_and_seed,
)
