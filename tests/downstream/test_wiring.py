"""What the stages of downstream training hand on, under a profile without equal numbers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from wires import Wires, distinct_profile

from r1reward.downstream import grading
from r1reward.downstream import policy as stages
from r1reward.downstream.questions import Question, read_questions, write_questions
from r1reward.engines import Sampling
from r1reward.files import read_json, read_jsonl, sha256_file
from r1reward.types import Completion

SEED = 3
PROFILE = distinct_profile(
    downstream={"policy": "mini", "prompts": 9, "tournament": "swiss", "judge_engine": "openai",
                "tournament_prompts": 4, "rl": {"algorithm": "grpo"}}
)  # fmt: skip
SETTINGS, RL = PROFILE.downstream, PROFILE.downstream.rl
JUDGE = {"path": "judge", "profile": PROFILE, "engine": "openai"}


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    return Wires(monkeypatch)


@pytest.fixture
def prompts(tmp_path: Path) -> Path:
    questions = [Question(f"what is {n} ?", (), f"a {n} .", "a set", f"row {n}") for n in range(12)]
    return write_questions(tmp_path / "prompts.jsonl", questions)


def drawn(prompts: Path, seeds: Any, count: int) -> list[Question]:
    questions = read_questions(prompts)
    return [questions[index] for index in np.random.default_rng(seeds).permutation(12)[:count]]


class Engine:
    """Gives as many answers as asked; the first is the reference's to every third question."""

    def __init__(self) -> None:
        self.asked: list[tuple[list[str], Sampling]] = []

    def generate(self, requests: Any, sampling: Sampling, *, progress: Any = None) -> list[Any]:
        self.asked.append(([one.text for one in requests], sampling))
        texts = [[self.text(one.text, sample) for sample in range(sampling.samples)] for one in requests]
        return [tuple(Completion(text, (), (), "stop") for text in some) for some in texts]

    @staticmethod
    def text(question: str, sample: int) -> str:
        number = int(question.split()[2])
        return f"a {number} ." if sample < number % 3 else f"no {sample} ."


def test_the_mini_policy_is_made_with_its_own_settings(wires: Wires, tmp_path: Path) -> None:
    wires.cut(stages, "keep_layers")
    wires.cut(stages, "train_sft", "made")
    assert (
        stages.make_policy(PROFILE, lessons=tmp_path / "lessons", out=tmp_path / "out", seed=SEED) == "made"
    )
    kept = wires.once("keep_layers")
    assert (kept["base"], kept["kept"]) == ("mini", SETTINGS.layers)
    assert wires.once("train_sft") == {
        "model_path": tmp_path / "out/start", "examples_path": tmp_path / "lessons", "out": tmp_path / "out",
        "settings": SETTINGS.sft, "model_settings": PROFILE.model, "seed": SEED, "read": read_questions,
    }  # fmt: skip


@pytest.mark.parametrize("reach", [None, (1, 2)])
def test_a_policy_is_trained_on_its_prompts_with_its_own_settings(
    reach: Any, prompts: Path, wires: Wires, tmp_path: Path
) -> None:
    settings = SETTINGS.model_copy(update={"right_answers": reach})
    profile, engine = PROFILE.model_copy(update={"downstream": settings}), Engine()
    wires.cut(stages, "load_engine", engine)
    wires.cut(stages, "checkpoint_hash", "weights")
    wires.cut(stages, "train_policy", "result")
    wires.cut(stages, "TournamentTask", "task")
    wires.cut(stages.R1Reward, "from_pretrained", "reward model")
    where: dict[str, Any] = {"out": tmp_path / "out", "record": tmp_path / "record", "seed": SEED}
    for _ in range(2):
        assert stages.train_with_judge("policy", prompts, "judge", profile=profile, **where) == "result"
    chosen = drawn(prompts, [SEED, 12], settings.prompts)
    sampling = Sampling(settings.max_new_tokens, RL.temperature, RL.samples_per_prompt, SEED)
    # What the policy can do is asked once, of all that were drawn, and kept.
    assert engine.asked == ([([one.text for one in chosen], sampling)] if reach else [])
    hashed = f"{sha256_file(prompts)} {settings.prompts}"
    if reach:
        assert wires.once("load_engine") == {"checkpoint": "policy", "profile": profile}
        chosen = [one for one in chosen if int(one.text.split()[2]) % 3 in reach]
        hashed += " 1 2"
        key = read_json(tmp_path / "out/right_answers.json")["key"].split()
        assert key[2:] == ["weights", str(RL.temperature), str(RL.samples_per_prompt), str(SEED)]
    made, again = wires.of("train_policy")
    assert made == again == {
        "task": "task", "model_path": "policy", "items": chosen, "items_hash": hashed, "settings": RL,
        "model_settings": profile.model, **where,
        "engine_settings": profile.engine.model_copy(update={"max_new_tokens": settings.max_new_tokens}),
    }  # fmt: skip
    assert wires.of("from_pretrained")[0] == {**JUDGE, "profile": profile}
    assert wires.of("TournamentTask")[0] == {
        "judge": "reward model", "pairing": "swiss", "rounds": settings.rounds,
    }  # fmt: skip


def test_tournaments_are_held_on_drawn_prompts_and_sampled_answers(
    prompts: Path, wires: Wires, tmp_path: Path
) -> None:
    engine = Engine()
    judge = SimpleNamespace(compare_all=lambda asked, *, votes, progress: (asked, votes))
    wires.cut(stages, "load_engine", engine)
    wires.cut(stages.R1Reward, "from_pretrained", judge)
    wires.cut(stages, "hold_tournaments", [{"line": 1}])
    record = tmp_path / "record.jsonl"
    stages.measure_tournaments("policy", prompts, "judge", profile=PROFILE, record=record, seed=SEED)
    chosen = drawn(prompts, SEED, SETTINGS.tournament_prompts)
    sampling = Sampling(SETTINGS.max_new_tokens, RL.temperature, RL.samples_per_prompt, SEED)
    assert engine.asked == [([one.text for one in chosen], sampling)]
    assert wires.once("load_engine") == {"checkpoint": "policy", "profile": PROFILE}
    assert wires.once("from_pretrained") == JUDGE
    held = wires.once("hold_tournaments")
    groups = [[Engine.text(one.text, sample) for sample in range(RL.samples_per_prompt)] for one in chosen]
    assert held["answered"] == list(zip(chosen, groups, strict=True))
    assert held["compare"](["two"]) == (["two"], 1)
    assert read_jsonl(record) == [{"line": 1}]


def test_answers_to_the_benchmarks_are_asked_kept_and_scored(wires: Wires, tmp_path: Path) -> None:
    folder, work = tmp_path / "files", tmp_path / "work"
    folder.mkdir()
    (folder / "MMStar.tsv").write_text("rows")
    (folder / "LLaVABench.tsv").write_text("open questions, whose truth is not there")
    rows = [SimpleNamespace(question=Question(f"what is {n} ?", ()), number=n) for n in range(3)]
    engine = Engine()
    wires.cut(grading, "read_rows", SimpleNamespace(kept=rows, summary="1 row"))
    wires.cut(grading, "identify", "weights")
    wires.cut(grading, "load_engine", engine)
    lines = [{"points": float(n), "units": {"mmstar": str(n)}} for n in range(3)]
    wires.cut(grading, "score_answers", lambda **_: lines)
    ask = {"profile": PROFILE, "work": work, "record": tmp_path / "record"}
    for _ in range(2):
        columns = grading.evaluate_policy("policy", folder, temperature=0.7, draws=2, seed=SEED, **ask)
        assert columns == {"mmstar": 100.0}
    sampling = Sampling(SETTINGS.max_new_tokens, 0.7, 2, SEED)
    assert engine.asked == [([row.question.text for row in rows], sampling)], "what was answered is kept"
    assert wires.once("load_engine") == {"checkpoint": "policy", "profile": PROFILE}
    assert wires.of("read_rows")[0] == {
        "path": folder / "MMStar.tsv",
        "style": "mini",
        "cache": work / "pictures",
    }
    assert wires.of("identify")[0] == {"checkpoint": "policy", "profile": PROFILE}
    for draw, asked in enumerate(wires.of("score_answers")[:2]):
        texts = [Engine.text(row.question.text, draw) for row in rows]
        assert (asked["benchmark"].name, asked["rows"], list(asked["answers"])) == ("MMStar", rows, texts)
        assert asked["folder"] == folder
    assert read_jsonl(tmp_path / "record/MMStar.jsonl") == [
        {**line, "draw": draw, "left_out": "1 row"} for draw in range(2) for line in lines
    ]
    for changed in ({"seed": SEED + 1}, {"temperature": 0.6}, {"draws": 3}):
        asked = {"temperature": 0.7, "draws": 2, "seed": SEED} | changed
        grading.evaluate_policy("policy", folder, **asked, **ask)
    assert len(engine.asked) == 4, "other answers are not taken for these"
