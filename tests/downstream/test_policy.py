"""The policy is made, trained by a judge, and measured; all with tiny sizes and real models."""

import json
from statistics import fmean

import pytest

from r1reward.config import load_profile
from r1reward.downstream import grading
from r1reward.downstream import policy as policy_module
from r1reward.downstream.grading import evaluate_policy, style_of
from r1reward.downstream.policy import make_policy, sample_answers, train_with_judge
from r1reward.downstream.questions import read_prompts, read_questions, write_questions
from r1reward.engines.loading import load_model, weights_hash
from r1reward.files import read_jsonl
from r1reward.mini.world.downstream import write_downstream
from r1reward.types import Completion, Judgment, Verdict

PROFILE = load_profile("smoke", overrides={"downstream": {"prompts": 8, "layers": [0, 3]}})


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_downstream(folder, prompts=10, lessons=48, questions=6, seed=0)
    for name in ("prompts", "lessons"):
        found = read_prompts(folder / name, style=style_of(PROFILE), cache=folder / "pictures")
        write_questions(folder / f"{name}.jsonl", found)
    return folder


@pytest.fixture(scope="module")
def policy(world, tmp_path_factory):
    out = tmp_path_factory.mktemp("policy")
    return make_policy(PROFILE, lessons=world / "lessons.jsonl", out=out, seed=0)


def test_the_mini_policy_is_smaller_and_has_learnt(policy):
    model, _ = load_model(policy)
    assert len(model.model.language_model.layers) == 2
    start, _ = load_model(policy.parent / "start")
    assert any(
        not one.equal(other) for one, other in zip(model.parameters(), start.parameters(), strict=True)
    )


def test_another_policy_is_taken_as_it_is(tmp_path):
    profile = load_profile("paper")
    assert make_policy(profile, lessons=tmp_path, out=tmp_path, seed=0) == "Qwen/Qwen2.5-VL-3B-Instruct"


class LikesLetters:
    """A judge that prefers the answer with more (or fewer) of the letter e; equal ones share."""

    name = "letters"

    def __init__(self, *, more: bool) -> None:
        self.sign = 1 if more else -1

    def compare_all(self, asked, *, votes):
        assert votes == 1
        gaps = [self.sign * (one.responses[0].count("e") - one.responses[1].count("e")) for one in asked]
        verdicts = [Verdict.FIRST if gap > 0 else Verdict.SECOND if gap else Verdict.UNPARSED for gap in gaps]
        return [Judgment(verdict, 1.0, "", ()) for verdict in verdicts]


def letters_per_answer(policy, questions):
    groups = sample_answers(policy, questions, profile=EAGER, seed=5, label="")
    return fmean(answer.count("e") for group in groups for answer in group)


EAGER = load_profile(
    "smoke",
    overrides={
        "downstream": {
            "prompts": 8,
            "layers": [0, 3],
            "judge_engine": "openai",
            "rl": {"learning_rate": 1e-3, "max_steps": 3, "epochs": 2},
        }
    },
)


def test_the_policy_becomes_what_its_judge_likes(policy, world, tmp_path, monkeypatch):
    known, made = {"more": LikesLetters(more=True), "fewer": LikesLetters(more=False)}, []

    class Judge:
        @staticmethod
        def from_pretrained(path, *, profile, engine):
            made.append((path, profile, engine))
            return known[path]

    monkeypatch.setattr(policy_module, "R1Reward", Judge)
    questions = read_questions(world / "prompts.jsonl")[:6]
    found = {"start": letters_per_answer(policy, questions)}
    for name in known:
        result = train_with_judge(
            policy, world / "prompts.jsonl", name,
            profile=EAGER, out=tmp_path / name, record=tmp_path / name / "record", seed=0,
        )  # fmt: skip
        assert result.status == "finished" and weights_hash(result.model) != weights_hash(policy)
        found[name] = letters_per_answer(result.model, questions)
        rows = read_jsonl(tmp_path / name / "record" / "metrics.jsonl")
        assert [row["step"] for row in rows] == [1, 2, 3]
        assert rows[0]["distinct_share"] > 0 and rows[0]["grad_norm"] > 0
    assert found["fewer"] < found["start"] < found["more"]
    assert made == [(name, EAGER, "openai") for name in known]


def test_where_nothing_is_better_nothing_is_learnt_and_a_run_is_kept(policy, world, tmp_path):
    """The base model gives no verdict: every comparison is a tie."""
    again = [
        train_with_judge(
            policy, world / "prompts.jsonl", "mini",
            profile=PROFILE, out=tmp_path, record=tmp_path / "record", seed=0,
        )
        for _ in range(2)
    ]  # fmt: skip
    rows = read_jsonl(tmp_path / "record" / "metrics.jsonl")
    assert again[0] == again[1] and [row["step"] for row in rows] == [1, 2]
    assert [row["reward"] for row in rows] == pytest.approx([0.5, 0.5])
    assert weights_hash(again[0].model) == weights_hash(policy)


def test_only_prompts_within_reach_are_trained_on(policy, world, tmp_path, monkeypatch):
    """Answers are fixed: as many are the reference's as the number of the prompt."""
    questions = read_questions(world / "prompts.jsonl")
    numbers = {question.label: number for number, question in enumerate(questions)}
    asked = []

    class Engine:
        def generate(self, requests, sampling, *, progress):
            asked.append(sampling)
            right = {item.label: item.answer for item in questions}
            return [
                tuple(
                    Completion(right[one.origin] if sample < numbers[one.origin] else "no .", (), (), "stop")
                    for sample in range(sampling.samples)
                )
                for one in requests
            ]

    trained_on = []
    monkeypatch.setattr(policy_module, "load_engine", lambda *_: Engine())
    monkeypatch.setattr(
        policy_module, "train_policy", lambda *a, **k: trained_on.append((a[2], k["items_hash"]))
    )
    run = {"out": tmp_path, "record": tmp_path / "record", "seed": 0}
    for reach in ([2, 3], [3, 3], None):
        overrides = {"downstream": {"prompts": len(questions), "right_answers": reach}}
        profile = load_profile("smoke", overrides=overrides)
        train_with_judge(policy, world / "prompts.jsonl", "mini", profile=profile, **run)
    kept = [sorted(numbers[item.label] for item in items) for items, _ in trained_on]
    assert kept == [[2, 3], [3], list(range(len(questions)))]
    assert len({items_hash for _, items_hash in trained_on}) == 3
    assert [(one.samples, one.temperature) for one in asked] == [(4, profile.downstream.rl.temperature)]
    profile = load_profile("smoke", overrides={"downstream": {"right_answers": [99, 99]}})
    with pytest.raises(ValueError, match="right_answers leaves no prompt"):
        train_with_judge(policy, world / "prompts.jsonl", "mini", profile=profile, **run)


def test_answers_are_scored_recorded_and_kept(policy, world, tmp_path, monkeypatch):
    folder = world / "benchmarks"
    ask = {"profile": PROFILE, "work": tmp_path / "work", "record": tmp_path / "record"}
    columns = evaluate_policy(policy, folder, **ask)
    assert len(columns) == 10 and all(0 <= value <= 100 for value in columns.values())
    lines = (tmp_path / "record" / "MMBench_DEV_EN_V11.jsonl").read_text().splitlines()
    assert len(lines) == 24 and set(json.loads(lines[0])) == {"points", "units", "draw"}

    monkeypatch.setattr(grading, "load_engine", lambda *_: pytest.fail("answered again"))
    assert evaluate_policy(policy, folder, **ask) == columns
    monkeypatch.setattr(grading, "TRUTH", "not there")
    assert len(evaluate_policy(policy, folder, **ask)) == 8, "no truth, no open questions"
    with pytest.raises(pytest.fail.Exception, match="answered again"):
        evaluate_policy(policy, folder, temperature=1.0, **ask)


def test_of_several_draws_each_is_recorded_and_the_column_is_their_mean(policy, world, tmp_path):
    folder = world / "benchmarks"
    ask = {"profile": PROFILE, "work": tmp_path / "work", "record": tmp_path / "record"}
    columns = evaluate_policy(policy, folder, temperature=1.0, draws=3, **ask)
    lines = [json.loads(line) for line in (tmp_path / "record" / "MMStar.jsonl").read_text().splitlines()]
    assert [line["draw"] for line in lines] == [draw for draw in range(3) for _ in range(len(lines) // 3)]
    assert columns["mmstar"] == pytest.approx(100 * fmean(line["points"] for line in lines))
    texts = json.loads((tmp_path / "work" / "MMStar.json").read_text())["answers"]
    assert any(len(set(answers)) > 1 for answers in texts), "the draws are draws"


def test_answers_of_another_model_are_not_taken(policy, world, tmp_path):
    folder = world / "benchmarks"
    first = evaluate_policy(
        policy, folder, profile=PROFILE, work=tmp_path / "work", record=tmp_path / "record"
    )
    kept = json.loads((tmp_path / "work" / "MMStar.json").read_text())
    start = evaluate_policy(
        policy.parent / "start", folder, profile=PROFILE, work=tmp_path / "work", record=tmp_path / "record"
    )
    assert json.loads((tmp_path / "work" / "MMStar.json").read_text())["model"] != kept["model"]
    assert set(first) == set(start)
