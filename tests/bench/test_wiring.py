"""What the benchmarks hand on: every argument of every call, under a profile without equal numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from wires import Wires, distinct_profile

from r1reward.bench import evaluate as module
from r1reward.bench import steering
from r1reward.bench.judging import generative_judge
from r1reward.engines import Sampling
from r1reward.files import append_jsonl, read_json, read_jsonl
from r1reward.judge.generative import judge_request
from r1reward.types import Comparison, Completion, PreferencePair, Request, Verdict, Vote

SEED = 3
PROFILE = distinct_profile(
    model={"prompt": "paper"}, bench={"unparsed": "coin"}, scaling={"pairs": 2, "samples": 4}
)
TOKENS, TEMPERATURE = PROFILE.engine.max_new_tokens, PROFILE.bench.sampled_temperature
PAIRS = [
    PreferencePair(f"p{n}", "povid", f"which {n} ?", (f"good {n}", f"bad {n}"), 2 if n % 2 else 1,
                   category="general",
                   meta={"row": 10 + n, "question": f"q{n // 2}", "left_out": "2 rows"})
    for n in range(4)
]  # fmt: skip
SCORES = {"greedy": 0.9, "sampled": 0.8, "blank_greedy": 0.7}


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    wires = Wires(monkeypatch)
    wires.cut(module, "load_engine", "engine")
    wires.cut(module, "identify", lambda checkpoint, **_: f"weights of {checkpoint}")
    wires.cut(module, "run_benchmark", lambda work, **_: work.name)
    wires.cut(module, "score", lambda records, **_: SimpleNamespace(accuracy=SCORES[records]))
    return wires


def modes_asked(wires: Wires, judges: dict[str, Any], tmp_path: Path) -> None:
    """Each mode has its judge, its folder and its record; only one shows grey pictures."""
    for mode, asked in zip(judges, wires.of("run_benchmark"), strict=True):
        assert asked == {
            "judge": judges[mode], "pairs": PAIRS, "work": tmp_path / "work" / mode, "unparsed": "coin",
            "record": tmp_path / f"record/{mode}.jsonl",
            **({"blank": True} if mode == "blank_greedy" else {}),
        }  # fmt: skip
    assert wires.of("score") == [{"records": mode, "unparsed": "coin"} for mode in judges]


def test_each_mode_asks_with_the_settings_of_the_profile(wires: Wires, tmp_path: Path) -> None:
    wires.cut(module, "generative_judge", lambda sampling, **_: ("judge", sampling))
    where: dict[str, Any] = {"work": tmp_path / "work", "record": tmp_path / "record"}
    found = module.evaluate("model", PAIRS, profile=PROFILE, seed=SEED, **where)
    assert {mode: score.accuracy for mode, score in found.items()} == SCORES
    sampled = {mode: TEMPERATURE if mode == "sampled" else 0.0 for mode in SCORES}
    asked = {mode: Sampling(TOKENS, temperature, seed=SEED) for mode, temperature in sampled.items()}
    about = {"engine": "engine", "prompt": "paper", "model": "weights of model"}
    assert wires.of("generative_judge") == [{**about, "sampling": one} for one in asked.values()]
    assert wires.once("load_engine") == wires.once("identify") == {"checkpoint": "model", "profile": PROFILE}
    modes_asked(wires, {mode: ("judge", one) for mode, one in asked.items()}, tmp_path)


def test_validation_asks_as_the_benchmarks_do(wires: Wires, tmp_path: Path) -> None:
    scores = {name: SimpleNamespace(accuracy=value, answer_one=value / 2, unparsed=value / 3)
              for name, value in (("greedy", 0.9), ("sampled", 0.6))}  # fmt: skip
    wires.cut(module, "evaluate", scores)
    wires.cut(module, "describe_answers", {"corrected": 0.05})
    append_jsonl(tmp_path / "sampled" / "texts.jsonl", [{"text": "sampled"}])
    append_jsonl(tmp_path / "greedy" / "texts.jsonl", [{"text": "greedy"}])
    found = module.validate("model", PAIRS, profile=PROFILE, seed=SEED, work=tmp_path)
    assert found == {"accuracy": 0.9, "accuracy_sampled": 0.6, "answer_one": 0.45,
                     "unparsed_share": pytest.approx(0.3), "n": 4, "corrected": 0.05}  # fmt: skip
    assert wires.once("describe_answers") == {"pairs": PAIRS, "lines": [{"text": "sampled"}]}
    assert wires.once("evaluate") == {
        "checkpoint": "model", "pairs": PAIRS, "profile": PROFILE, "seed": SEED, "work": tmp_path,
        "record": tmp_path, "modes": ("greedy", "sampled"), "label": "validating",
    }  # fmt: skip


def test_a_reward_model_scores_each_response_with_the_settings_of_the_profile(
    wires: Wires, tmp_path: Path
) -> None:
    def scores(requests: list[Request], **_: Any) -> list[Any]:
        return [module.ResponseScore(len(one.text) + place % 2, f"critique {place}", 5 + place)
                for place, one in enumerate(requests)]  # fmt: skip

    wires.cut(module, "load_reward_model", ("model", "processor"))
    wires.cut(module, "score_responses", scores)
    where: dict[str, Any] = {"work": tmp_path / "work", "record": tmp_path / "record"}
    module.evaluate_scalar("model", PAIRS, profile=PROFILE, **where)
    assert wires.once("load_reward_model") == {"folder": "model", "settings": PROFILE.model}
    judge = wires.of("run_benchmark")[0]["judge"]
    assert (judge.key["model"], judge.sampling) == ("weights of model", Sampling(TOKENS, 0.0))
    assert judge.key["prompt"] == module.score_template("paper") != module.score_template("mini")
    modes_asked(wires, {"greedy": judge, "blank_greedy": judge}, tmp_path)
    given, swapped = judge.ask(PAIRS[:1], judge.sampling, None)
    asked = wires.once("score_responses")
    assert asked == {
        "model": "model", "processor": "processor", "batch_size": PROFILE.engine.batch_size,
        "requests": [module.score_request(PAIRS[0], position, prompt="paper") for position in (1, 2)],
        "max_prompt_tokens": PROFILE.engine.max_prompt_tokens, "max_new_tokens": TOKENS,
    }  # fmt: skip
    first, second = scores(asked["requests"])
    assert second.score == first.score, "a tie: 'good' is a letter longer than 'bad'"
    assert given == {"verdict": "u", "tokens": 11, "scores": [first.score, second.score],
                     "critiques": ["critique 0", "critique 1"]}  # fmt: skip
    assert swapped["critiques"] == ["critique 1", "critique 0"] and swapped["tokens"] == 11
    assert module.verdict_of(2.0, 1.0) is Verdict.FIRST


def test_a_pool_is_drawn_with_the_settings_of_the_profile(wires: Wires, tmp_path: Path) -> None:
    def answers(pairs: list[PreferencePair], **_: Any) -> list[Any]:
        lines = [{"verdicts": f"1u{order}", "probabilities": [900, 1000, order], "tokens": [3, order, 4]}
                 for order in (1, 2)]  # fmt: skip
        return [
            (lines[0], lines[1] | ({"error": "too long"} if number else {})) for number, _ in enumerate(pairs)
        ]

    wires.cut(module, "generative_judge", "judge")
    wires.cut(module, "judge_all", answers)
    where: dict[str, Any] = {"work": tmp_path / "work", "record": tmp_path / "pool.jsonl"}
    module.judge_often("model", PAIRS, profile=PROFILE, seed=SEED, **where)
    assert wires.once("load_engine") == wires.once("identify") == {"checkpoint": "model", "profile": PROFILE}
    assert wires.once("generative_judge") == {
        "engine": "engine", "sampling": Sampling(TOKENS, TEMPERATURE, PROFILE.scaling.samples, SEED),
        "prompt": "paper", "model": "weights of model", "read": module._pool_line,
        "chunk_pairs": module.POOL_CHUNK_PAIRS,
    }  # fmt: skip
    chosen = module.spread(PAIRS, 2)
    assert wires.once("judge_all") == {"judge": "judge", "pairs": chosen, "work": tmp_path / "work"}
    lines = {"verdicts": ["1u1", "1u2"], "probabilities": [[900, 1000, 1], [900, 1000, 2]], "tokens": [8, 9]}
    assert read_jsonl(tmp_path / "pool.jsonl") == [
        {"row": pair.meta["row"], "group": "general", "preferred": pair.preferred, **lines,
         **({"not_asked": 1} if number else {}), "question": pair.meta["question"], "left_out": "2 rows"}
        for number, pair in enumerate(chosen)
    ]  # fmt: skip


def test_a_ranking_is_recorded_with_its_question(wires: Wires, tmp_path: Path) -> None:
    item = Comparison("which ?", ("a", "b"), label="the question")
    votes = [Vote(Verdict.FIRST, "", Completion("1", (), (), "stop"), None)]
    ranking = SimpleNamespace(order=(2, 0, 1), judgments={(0, 1): SimpleNamespace(votes=votes)})
    judge, asked = SimpleNamespace(engine="engine"), list[Any]()
    judge.rank_all = lambda questions, *, votes, progress: asked.append((questions, votes)) or [ranking]
    wires.cut(module.R1Reward, "from_pretrained", judge)
    questions = [(item, ["a", "b", "c"], [2])]
    module.rank_with("model", questions, profile=PROFILE, record=tmp_path / "r.jsonl", votes=5)
    assert wires.once("from_pretrained") == {"path": "model", "profile": PROFILE}
    assert asked == [([(item, ["a", "b", "c"])], 5)]
    assert isinstance(judge.engine, module.ForgivingEngine)
    assert read_jsonl(tmp_path / "r.jsonl") == [
        {"question": "the question", "responses": 3, "good": [2], "order": [2, 0, 1]}
    ]


def test_the_real_file_is_judged_as_its_outcome_says(wires: Wires, tmp_path: Path) -> None:
    records = [SimpleNamespace(pictures="photographs", group=name) for name in ("b", "a", "b")]
    wires.cut(module, "load_benchmark", [*PAIRS, *PAIRS])
    wires.cut(module, "run_benchmark", records)
    wires.cut(module, "generative_judge", "judge")
    wires.cut(module, "score", SimpleNamespace(accuracy=0.25, unparsed=0.125))
    profile = PROFILE.model_copy(update={"bench": PROFILE.bench.model_copy(update={"real_rows": 3})})
    found = module.run_real_file(
        "model", (tmp_path / "file", [Path("one.jpg")]), profile=profile, prompt="mini", work=tmp_path
    )
    engine = profile.engine.model_copy(update={"max_prompt_tokens": 16_384, "batch_size": 8})
    loaded = profile.model_copy(update={"engine": engine})
    assert wires.once("load_engine") == {"checkpoint": "model", "profile": loaded}
    assert list(wires.once("load_benchmark").values()) == [tmp_path / "file", [Path("one.jpg")]]
    sampling = Sampling(max_new_tokens=16, temperature=1.0, seed=0)
    assert wires.once("generative_judge") == {"engine": "engine", "sampling": sampling, "prompt": "mini"}
    assert wires.once("run_benchmark") == {
        "judge": "judge", "pairs": PAIRS[:3], "work": tmp_path, "record": tmp_path / "record.jsonl",
    }  # fmt: skip
    assert found == {
        "label": "photographs: the score means nothing", "prompt": "mini", "rows": 3,
        "decoding": "sampled, temperature 1, seed 0", "group_sizes": {"a": 1, "b": 2},
        "overall": 0.25, "unparsed_share": 0.125,
    }  # fmt: skip


def test_a_chunk_is_asked_in_both_orders_by_the_prompt_and_sampling_of_the_judge() -> None:
    asked: list[Any] = []

    class Engine:
        def generate(self, requests: Any, sampling: Sampling, *, progress: Any = None) -> list[Any]:
            asked.append((requests, sampling))
            text = "<think>so</think><answer>2</answer>"
            return [(Completion(text, (7, 8), (0.0, 0.0), "stop"),) * sampling.samples for _ in requests]

    sampling = Sampling(TOKENS, 0.5, 1, SEED)
    judge = generative_judge(Engine(), sampling, prompt="paper", model="weights", chunk_pairs=7)
    assert (judge.chunk_pairs, judge.sampling, judge.key["model"]) == (7, sampling, "weights")
    lines = judge.ask(PAIRS[:1], replace(sampling, seed=9), None)
    both = [judge_request(one, prompt="paper").text for one in (PAIRS[0], PAIRS[0].swapped())]
    ((requests, how),) = asked
    assert ([one.text for one in requests], how) == (both, replace(sampling, seed=9))
    assert lines == [{"verdict": "2", "tokens": 2, "finish_reason": "stop",
                      "text": "<think>so</think><answer>2</answer>"}] * 2  # fmt: skip


def test_steering_asks_greedily_by_the_prompt_of_the_profile(wires: Wires, tmp_path: Path) -> None:
    def votes(pairs: list[PreferencePair], **_: Any) -> list[Any]:
        said = [Verdict.FIRST, Verdict.FIRST, Verdict.UNPARSED, Verdict.SECOND]
        return [
            (Vote(one, "", Completion("", (), (), "stop"), None),) for one, _ in zip(said, pairs, strict=True)
        ]

    wires.cut(steering, "load_engine", "engine")
    wires.cut(steering, "identify", "weights")
    wires.cut(steering, "judge_samples", votes)
    steering.measure_steering("model", PAIRS[:2], profile=PROFILE, record=tmp_path / "record.json")
    assert wires.once("load_engine") == wires.once("identify") == {"checkpoint": "model", "profile": PROFILE}
    both = [one for pair in PAIRS[:2] for one in (pair, pair.swapped())]
    for name, asked in zip(steering.TEXTS, wires.of("judge_samples"), strict=True):
        assert asked["pairs"] == [steering.steer(pair, name) for pair in both]
        assert (asked["prompt"], asked["sampling"]) == ("paper", Sampling(TOKENS, temperature=0.0))
    controls = {name: steering.control_of(name) for name in steering.ATTACKS}
    # Preferred are 1, 2, 2, 1 in the two orders of the two pairs.
    assert read_json(tmp_path / "record.json") == {
        "prompt": "paper", "model": "weights", "controls": controls,
        "marks": dict.fromkeys(steering.TEXTS, "10u0"),
    }  # fmt: skip
