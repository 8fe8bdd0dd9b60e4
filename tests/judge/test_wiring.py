"""What judges hand to engines and servers: every argument, under a profile without equal numbers."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from wires import Wires, distinct_profile

from r1reward.engines import Sampling
from r1reward.files import read_json, read_jsonl
from r1reward.judge import consistency_judges, generative, scalar
from r1reward.judge.consistency_judges import ModelConsistencyJudge, make_consistency_judge
from r1reward.judge.generative import R1Reward
from r1reward.judge.judge_file import judge_file
from r1reward.types import Comparison, Completion, PreferencePair, Request, Verdict

SEED = 3
PROFILE = distinct_profile(model={"prompt": "paper_fenced"})


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    return Wires(monkeypatch)


class Engine:
    """Always names response 1, as often as it is asked."""

    batch_size = 5

    def __init__(self) -> None:
        self.asked: list[tuple[list[Request], Sampling]] = []

    def generate(self, requests: Any, sampling: Sampling, *, progress: Any = None) -> list[Any]:
        self.asked.append((list(requests), sampling))
        answer = Completion("<think>.</think><answer>1</answer>", (1, 2, 3), (0.0,) * 3, "stop")
        return [(answer,) * sampling.samples for _ in requests]


@pytest.mark.parametrize("engine", [None, "openai"])
def test_a_judge_is_made_with_the_settings_of_the_profile(engine: Any, wires: Wires) -> None:
    wires.cut(generative, "load_engine", "engine")
    wires.cut(generative, "identify", "its name")
    wires.cut(generative, "load_profile", PROFILE)
    asked = PROFILE
    if engine:
        asked = PROFILE.model_copy(update={"engine": PROFILE.engine.model_copy(update={"name": engine})})
    overrides = {"engine": {"batch_size": 5}}
    ways: tuple[dict[str, Any], ...] = ({"profile": PROFILE}, {"profile": "mini", "overrides": overrides})
    for how in ways:
        judge = R1Reward.from_pretrained("model", engine=engine, seed=SEED, **how)
        assert (judge.engine, judge.name, judge.prompt, judge.seed) == (
            "engine",
            "its name",
            "paper_fenced",
            SEED,
        )
        assert judge.max_new_tokens == PROFILE.engine.max_new_tokens
        assert judge.temperature == PROFILE.bench.sampled_temperature
    assert wires.of("load_engine") == [{"checkpoint": "model", "profile": asked}] * 2
    assert wires.of("identify") == [{"checkpoint": "model", "profile": asked}] * 2
    assert wires.once("load_profile") == {"name": "mini", "overrides": overrides}


@pytest.mark.parametrize(("votes", "temperature"), [(1, 0.0), (4, 0.6)])
@pytest.mark.parametrize("both_orders", [False, True])
def test_what_is_compared_is_what_the_engine_is_shown(
    votes: int, temperature: float, both_orders: bool
) -> None:
    engine = Engine()
    judge = R1Reward(engine, prompt="mini", max_new_tokens=41, temperature=0.6, seed=SEED)
    pictures: dict[str, Any] = {"images": ["a.png", "b.png"], "frames": ["c.png"]}
    found = judge.compare("which ?", response_1="red", response_2="blue", votes=votes,
                          both_orders=both_orders, **pictures)  # fmt: skip
    ((requests, sampling),) = engine.asked
    assert sampling == Sampling(41, temperature, votes, SEED)
    shown = [("red", "blue")] + [("blue", "red")] * both_orders
    for request, (first, second) in zip(requests, shown, strict=True):
        assert (request.images, request.frames, request.origin) == (
            ("a.png", "b.png"),
            ("c.png",),
            "the pair",
        )
        assert -1 < request.text.index("which ?") < request.text.index(first) < request.text.index(second)
    assert [request.place for request in requests] == [*range(len(shown))]
    # Response 1 in both orders is as often one as the other.
    assert found.verdict is (Verdict.UNPARSED if both_orders else Verdict.FIRST)
    assert [vote.swapped for vote in found.votes] == [False] * votes + [True] * votes * both_orders


@pytest.mark.parametrize("both_orders", [False, True])
def test_what_is_ranked_is_what_the_engine_is_shown(both_orders: bool) -> None:
    engine = Engine()
    judge = R1Reward(engine, prompt="mini", max_new_tokens=41, temperature=0.6, seed=SEED)
    found = judge.rank("which ?", ["a.png"], ["red", "blue", "red"], frames=["c.png"], votes=2,
                       both_orders=both_orders)  # fmt: skip
    ((requests, sampling),) = engine.asked
    assert sampling == Sampling(41, 0.6, 2, SEED)
    orders = [("red", "blue"), ("blue", "red")]
    shown = [orders[0], orders[1], orders[1], orders[0]] if both_orders else orders
    for request, (first, second) in zip(requests, shown, strict=True):
        assert (request.images, request.frames) == (("a.png",), ("c.png",))
        assert request.text.index(first) < request.text.index(second)
    assert found.scores == pytest.approx((0.5,) * 3 if both_orders else (0.75, 0.5, 0.25))
    assert set(found.judgments) == {(0, 1), (1, 2)}


@pytest.mark.parametrize("name", ["trained", "server"])
def test_each_consistency_judge_is_made_of_its_own_settings(name: Any, wires: Wires, tmp_path: Path) -> None:
    profile, cache = distinct_profile(judges={"name": name}), tmp_path / "cache"
    for made in ("ModelConsistencyJudge", "ServerConsistencyJudge", "FlippedConsistencyJudge",
                 "RandomConsistencyJudge"):  # fmt: skip
        wires.cut(consistency_judges, made, made)
    for judge in ("strong", "weak", "noisy", "random"):
        make_consistency_judge(profile, judge, tmp_path, seed=SEED, cache=cache)
    if name == "trained":
        asked = [{"checkpoint": tmp_path / judge / "model"} for judge in ("strong", "weak", "strong")]
        assert wires.of("ModelConsistencyJudge") == asked and not wires.of("ServerConsistencyJudge")
    else:
        strong = {"settings": profile.judges.server, "folder": cache}  # its section is the default
        weak = {"settings": profile.judges.weak_server, "folder": cache, "section": "judges.weak_server"}
        assert wires.of("ServerConsistencyJudge") == [strong, weak, strong]
    kind = "ModelConsistencyJudge" if name == "trained" else "ServerConsistencyJudge"
    assert wires.once("FlippedConsistencyJudge") == {"judge": kind, "share": 0.25, "seed": SEED}
    assert wires.once("RandomConsistencyJudge") == {"seed": SEED}


def test_a_trained_consistency_judge_is_asked_greedily_and_once_about_the_same() -> None:
    engine = Engine()
    judge = ModelConsistencyJudge("checkpoint", engine=engine)
    reasonings, verdicts = ["a", "b", "a", "a"], [Verdict.FIRST, Verdict.FIRST, Verdict.FIRST, Verdict.SECOND]
    assert judge.judge(reasonings, verdicts) == [True] * 4 == judge.judge(reasonings, verdicts)
    ((requests, sampling),) = engine.asked
    assert len(requests) == 3 and sampling == Sampling(4, temperature=0.0)


@pytest.mark.parametrize("kind", ["scalar", "critique"])
def test_responses_are_scored_in_batches_of_the_size_and_length_that_are_given(
    kind: Any, wires: Wires, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, batches = Engine(), list[Any]()
    wires.cut(scalar, "TransformersEngine", engine)
    wires.cut(scalar, "encode", lambda requests, **_: {"size": torch.tensor(len(requests))})
    monkeypatch.setattr(
        scalar,
        "_score_batch",
        lambda model, batch, critiques: batches.append(critiques) or [0.5] * len(critiques),
    )
    model: Any = SimpleNamespace(kind=kind, backbone="backbone")
    processor = SimpleNamespace(tokenizer=SimpleNamespace(eos_token_id=9))
    requests = [Request(f"{n}") for n in range(7)]
    sizes: dict[str, Any] = {"batch_size": 3, "max_prompt_tokens": 41, "max_new_tokens": 42}
    found = scalar.score_responses(model, processor, requests, **sizes)
    # An engine that ran out of memory has a smaller batch, which then holds for the head too.
    size = engine.batch_size if kind == "critique" else 3
    assert [len(one) for one in batches] == [size] * (7 // size) + [7 % size] and len(found) == 7
    for start, asked in zip(range(0, 7, size), wires.of("encode"), strict=True):
        assert asked["requests"] == requests[start : start + size] and asked["max_prompt_tokens"] == 41
    if kind == "critique":
        asked = {"model": "backbone", "processor": processor, "batch_size": 3, "max_prompt_tokens": 41}
        assert wires.once("TransformersEngine") == asked
        assert engine.asked == [(requests, Sampling(42, 0.0))]
        assert {(one.critique, one.tokens) for one in found} == {("<think>.</think><answer>1</answer>", 3)}
    else:
        assert {(one.critique, one.tokens) for one in found} == {("", 0)} and not engine.asked


def test_a_reward_model_is_loaded_with_the_settings_that_are_given(wires: Wires, tmp_path: Path) -> None:
    backbone = SimpleNamespace(
        config=SimpleNamespace(get_text_config=lambda: SimpleNamespace(hidden_size=6)), device="cpu"
    )
    wires.cut(scalar, "load_model", (backbone, "processor"))
    wires.cut(scalar, "RewardModel", lambda head, **_: head)
    how = {"settings": PROFILE.model, "train": True}
    heads: list[Any] = [
        scalar.new_reward_model("start", kind="critique", seed=seed, **how)[0] for seed in (SEED, SEED, 0)
    ]
    assert torch.equal(heads[0].hidden.weight, heads[1].hidden.weight), "drawn by the seed"
    assert not torch.equal(heads[0].hidden.weight, heads[2].hidden.weight)
    assert {float(head.hidden.weight.std()) < 1 for head in heads} == {True}
    (tmp_path / "reward_head.json").write_text(json.dumps({"kind": "scalar", "width": 6}))
    scalar.save_file(heads[2].state_dict(), tmp_path / "reward_head.safetensors")
    again: Any
    again, processor = scalar.load_reward_model(tmp_path, **how)
    assert torch.equal(again.hidden.weight, heads[2].hidden.weight) and processor == "processor"
    assert wires.of("load_model") == [{"path": path, **how} for path in ("start", "start", "start", tmp_path)]
    kinds = [one["kind"] for one in wires.of("RewardModel")]
    assert kinds == ["critique"] * 3 + ["scalar"]


def test_a_response_is_shown_alone_with_its_pictures() -> None:
    pair = PreferencePair("p", "povid", "which ?", ("red", "blue"), 2, ("a.png",), ("b.png",))
    for position, shown, other in ((1, "red", "blue"), (2, "blue", "red")):
        request = scalar.score_request(pair, position, prompt="paper")
        assert shown in request.text and other not in request.text and "which ?" in request.text
        assert request.text == scalar.score_prompt("which ?", shown, name="paper")
        assert (request.images, request.frames, request.origin) == (("a.png",), ("b.png",), "p")
        assert request.text != scalar.score_request(pair, position, prompt="mini").text
    compared = generative.judge_request(pair, prompt="paper")
    assert (compared.images, compared.frames, compared.origin) == (("a.png",), ("b.png",), pair.label)


def test_a_file_is_judged_as_its_header_says(wires: Wires, tmp_path: Path) -> None:
    engine = Engine()
    judge = R1Reward(engine, prompt="mini", max_new_tokens=41, temperature=0.6, seed=SEED, name="weights")
    wires.cut(
        judge,
        "compare_all",
        lambda comparisons, **_: [
            SimpleNamespace(verdict=Verdict.FIRST, confidence=0.5, reasoning="so", swapped=False, votes=())
            for _ in comparisons
        ],
    )
    path, out = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    rows = [
        {"question": f"which {n} ?", "response_1": "red", "response_2": "blue", "id": f"n{n}"}
        for n in range(3)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + "not JSON\n")
    found = judge_file(judge, path, out, votes=5, both_orders=True)
    assert found == {"judged": 3, "unparsed": 0, "failed": 1}
    asked = wires.once("compare_all")
    assert [one.question for one in asked["comparisons"]] == ["which 0 ?", "which 1 ?", "which 2 ?"]
    assert {one.responses for one in asked["comparisons"]} == {("red", "blue")}
    assert (asked["votes"], asked["both_orders"], len(set(asked["places"]))) == (5, True, 3)
    header = read_json(out.with_name("out.jsonl.run.json"))
    assert header == {"model": "weights", "prompt": header["prompt"], "max_new_tokens": 41,
                      "temperature": 0.6,
                      "seed": SEED, "votes": 5, "both_orders": True}  # fmt: skip
    lines = read_jsonl(out)
    assert [(line["row"], line.get("id")) for line in lines[:3]] == [(n + 1, f"n{n}") for n in range(3)]
    assert all(
        (line["verdict"], line["confidence"], line["reasoning"]) == ("1", 0.5, "so") for line in lines[:3]
    )
    assert "error" in lines[3] and isinstance(asked["comparisons"][0], Comparison)
