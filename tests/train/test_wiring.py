"""What the stages of training hand on, under a profile without equal numbers."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from helpers import World
from wires import Wires, distinct_profile

from r1reward.data.annotate import Annotation
from r1reward.data.cold_start import write_pairs
from r1reward.data.rows import Sifted
from r1reward.data.storage import read_pairs, read_sft
from r1reward.engines import Sampling
from r1reward.files import read_json, read_jsonl
from r1reward.pictures import Budget
from r1reward.settings import SFTSettings
from r1reward.train import annotators, consistency, learner, rl, scalar_head, sft, tasks
from r1reward.train.consistency import Opinion
from r1reward.train.tasks import JudgeTask
from r1reward.types import Verdict

SEED = 3


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    return Wires(monkeypatch)


PROFILE = distinct_profile(model={"prompt": "mini"}, data={"annotator": "scripted"})
STUDY = PROFILE.annotators
TAUGHT = PROFILE.sft.model_copy(
    update={
        "epochs": STUDY.epochs, "learning_rate": STUDY.learning_rate, "max_examples": None,
        "batch_size": STUDY.batch_size,
        "micro_batch_size": min(STUDY.batch_size, PROFILE.sft.micro_batch_size),
    }
)  # fmt: skip
# How the annotator of an arm is asked: its prompt, and the temperature of its first attempt.
ARMS = {
    "weak": ("mini", 0.0),
    "weak_sampled": ("mini", STUDY.temperature),
    "weak_reworded": ("reworded", 0.0),
}


@pytest.mark.parametrize("arm", ARMS)
def test_a_weak_annotator_is_taught_asked_and_learnt_from_as_its_arm_says(
    arm: Any, world: World, wires: Wires, tmp_path: Path
) -> None:
    prompt, temperature = ARMS[arm]
    model = PROFILE.model.model_copy(update={"prompt": prompt})
    pairs = read_pairs(world.pairs)[:3]
    write_pairs(tmp_path / "out/pairs.jsonl", pairs)
    right = [f"<think>.</think><answer>{pair.preferred}</answer>" for pair in pairs]
    known = [Annotation(pairs[0].pair_id, (right[0],), reached=True),
             Annotation(pairs[1].pair_id, ("no", right[1]), reached=True),
             Annotation(pairs[2].pair_id, ("no", "no"), reached=False)]  # fmt: skip
    wires.cut(annotators, "keep_layers")
    wires.cut(annotators, "train_sft", lambda out, **_: out / "model")
    wires.cut(annotators, "load_engine", "engine")
    wires.cut(annotators, "checkpoint_hash", lambda path: f"hash of {path}")
    wires.cut(annotators, "ModelAnnotator", SimpleNamespace(name="model"))
    wires.cut(annotators, "annotate_pairs", known)
    folders = {name: tmp_path / name for name in ("data", "out", "paid", "record")}
    found = annotators.run_arm(arm, **folders, profile=PROFILE, seed=SEED)
    taught, own = tmp_path / f"out/annotator_{prompt}/seed_{SEED}", tmp_path / f"out/{arm}/seed_{SEED}"
    kept = wires.once("keep_layers")
    assert (kept["base"], list(kept["kept"])) == (PROFILE.model.base, list(range(STUDY.layers)))
    lesson, cold_start = wires.of("train_sft")
    common = {"settings": TAUGHT, "seed": SEED}
    assert lesson == {**common, "model_path": taught / "start", "out": taught, "model_settings": model,
                      "examples_path": tmp_path / "out/lessons.jsonl"}  # fmt: skip
    assert cold_start == {**common, "model_path": PROFILE.model.base, "examples_path": own / "sft.jsonl",
                          "out": own, "record": tmp_path / "record",
                          "model_settings": PROFILE.model}  # fmt: skip
    changed = PROFILE.model_copy(update={"model": model})
    assert wires.once("load_engine") == {"checkpoint": taught / "model", "profile": changed}
    assert wires.once("ModelAnnotator") == {
        "engine": "engine", "model": f"hash of {taught / 'model'}", "prompt": prompt, "seed": SEED,
        "max_new_tokens": PROFILE.engine.max_new_tokens,
        **({"temperature": temperature} if temperature else {}),
        "retry_temperature": STUDY.temperature, "batch_size": PROFILE.engine.batch_size,
    }  # fmt: skip
    assert wires.once("annotate_pairs") == {
        "annotator": SimpleNamespace(name="model"), "pairs": pairs, "path": own / "annotations.jsonl",
        "max_attempts": PROFILE.data.max_attempts,
    }  # fmt: skip
    assert [example.completion for example in read_sft(own / "sft.jsonl")] == right[:2]
    assert found == read_json(tmp_path / "record/annotation.json")
    assert found == {"arm": arm, "annotator": "model", "pairs": 3, "first_attempt_accuracy": 1 / 3,
                     "reached_share": 2 / 3, "examples": 2}  # fmt: skip


@pytest.mark.parametrize(
    ("arm", "prompt"),
    [("weak", "paper_fenced"), ("weak_sampled", "paper_fenced"), ("weak_reworded", "reworded")],
)
@pytest.mark.parametrize("server_seed", [7, None])
def test_a_weak_annotator_behind_a_server_is_asked_as_its_arm_says(
    arm: Any, prompt: str, server_seed: int | None, world: World, wires: Wires, tmp_path: Path
) -> None:
    profile = distinct_profile(
        model={"prompt": "paper_fenced"},
        data={"annotator": "openai"},
        annotators={"openai": {"seed": server_seed}},
    )
    write_pairs(tmp_path / "out/pairs.jsonl", pairs := read_pairs(world.pairs)[:1])
    wires.cut(annotators, "OpenAIAnnotator", SimpleNamespace(name="openai"))
    wires.cut(
        annotators, "annotate_pairs", [Annotation(pairs[0].pair_id, (), reached=False, unanswered=True)]
    )
    wires.cut(annotators, "train_sft")
    wires.cut(annotators, "load_model", ("model", "processor"))
    wires.cut(annotators, "save_model")
    folders = {name: tmp_path / name for name in ("data", "out", "paid", "record")}
    found = annotators.run_arm(arm, **folders, profile=profile, seed=SEED)
    server = profile.annotators.openai
    if arm == "weak_sampled":
        drawn = None if server_seed is None else server_seed + 1000 * SEED
        server = server.model_copy(update={"temperature": profile.annotators.temperature, "seed": drawn})
    kept = tmp_path / f"paid/annotators/{arm}/seed_{SEED}"
    assert wires.once("OpenAIAnnotator") == {
        "settings": server, "prompt": prompt, "section": "annotators.openai",
        "log": kept / "requests.jsonl",
    }  # fmt: skip
    assert wires.once("annotate_pairs")["path"] == kept / "annotations.jsonl"
    # What was never answered counts in no share; nothing is learnt, and the start is what is left.
    assert (found["pairs"], found["examples"], found["annotator"]) == (0, 0, "openai")
    assert wires.of("train_sft") == [] and wires.once("load_model")["path"] == profile.model.base
    saved = wires.once("save_model")
    assert (saved["model"], saved["processor"]) == ("model", "processor")
    assert (tmp_path / f"out/{arm}/seed_{SEED}/model").is_dir()


@pytest.mark.parametrize("kind", ["scalar", "critique"])
@pytest.mark.parametrize("rank", [0, 5])
def test_a_reward_model_is_trained_with_its_own_settings(
    kind: Any, rank: int, world: World, wires: Wires, tmp_path: Path
) -> None:
    profile = distinct_profile(model={"lora": {"rank": rank}})
    settings, model_settings = profile.reward_model, profile.model
    wires.cut(scalar_head, "run_trainer", tmp_path / "done")
    wires.cut(scalar_head, "load_reward_model", ("again", "processor"))
    new = SimpleNamespace(backbone="backbone")
    wires.cut(scalar_head, "new_reward_model", (new, "processor"))
    wires.cut(scalar_head, "add_adapters")
    wires.cut(scalar_head, "load_adapters")
    for name in ("usable_pairs", "usable_targets"):
        wires.cut(scalar_head, name, Sifted([], {name: 1}))
    wires.cut(scalar_head, "PairCollator", "collator")
    where: dict[str, Any] = {"out": tmp_path / "out", "record": tmp_path / "record"}
    given = {"settings": settings, "model_settings": model_settings, "seed": SEED, **where}
    assert scalar_head.train_reward_model("backbone", world.examples, kind=kind, **given) == tmp_path / "done"
    read = "usable_pairs" if kind == "scalar" else "usable_targets"
    assert [name for name, _ in wires.calls] == [read, "run_trainer"]
    budget = Budget(model_settings.min_pixels, model_settings.max_pixels)
    assert list(wires.once(read).values()) == [world.examples, budget]
    asked = wires.once("run_trainer")
    load, make_collator = asked.pop("load"), asked.pop("make_collator")
    assert asked == {
        "trainer_class": scalar_head.PreferenceTrainer, "found": Sifted([], {read: 1}),
        "name": f"{kind} reward model", "model_path": "backbone", "examples_path": world.examples,
        "key": {"kind": kind, "reward_model": settings.model_dump(mode="json")},
        "options": {"batch_size": settings.batch_size, "critique_weight": settings.critique_weight}, **given,
    }  # fmt: skip
    assert make_collator("of this") == "collator"
    assert wires.once("PairCollator") == {
        "processor": "of this",
        "prompt": profile.model.prompt,
        "kind": kind,
    }
    loaded = {"settings": model_settings, **({} if rank else {"train": True})}
    drawn = {"path": "backbone", "kind": kind, "seed": SEED, **loaded}
    assert load(None) == (new, "processor") and wires.once("new_reward_model") == drawn
    again = load(tmp_path / "last")
    if rank:
        assert again == (new, "processor") and wires.of("new_reward_model") == [drawn, drawn]
        adapters = {"model": "backbone", "lora": model_settings.lora, "seed": SEED}
        assert [list(one.values()) for one in wires.of("add_adapters")] == 2 * [list(adapters.values())]
        assert list(wires.once("load_adapters").values()) == [new, tmp_path / "last"]
    else:
        assert again == ("again", "processor")
        assert wires.once("load_reward_model") == {"folder": tmp_path / "last", **loaded}
        assert wires.of("add_adapters") == wires.of("load_adapters") == []


@pytest.mark.parametrize("sharded", [False, True])
def test_a_cold_start_is_trained_with_its_own_settings(
    sharded: bool, world: World, wires: Wires, tmp_path: Path
) -> None:
    profile, seen = distinct_profile(cluster={"freeze_vision": True, "gradient_checkpointing": True}), []
    note = SimpleNamespace(requires_grad_=lambda on: seen.append(("vision learns", on)))
    model = SimpleNamespace(
        model=SimpleNamespace(visual=note), gradient_checkpointing_enable=lambda: seen.append("recompute")
    )
    wires.cut(sft, "run_trainer", tmp_path / "done")
    wires.cut(sft, "usable_targets", Sifted([], {"read": 1}))
    wires.cut(sft, "load_policy", (model, "processor"))
    wires.cut(sft, "Collator", "collator")
    where: dict[str, Any] = {"out": tmp_path / "out", "record": tmp_path / "record"}
    given = {"settings": profile.sft, "model_settings": profile.model, "seed": SEED, **where}
    given |= {"cluster": profile.cluster} if sharded else {}
    assert sft.train_sft("start", world.examples, **given, max_prompt_tokens=41) == tmp_path / "done"
    budget = Budget(profile.model.min_pixels, profile.model.max_pixels)
    assert list(wires.once("usable_targets").values()) == [world.examples, budget]
    asked = wires.once("run_trainer")
    load, make_collator = asked.pop("load"), asked.pop("make_collator")
    assert asked == {
        "trainer_class": sft.ResponseTrainer, "found": Sifted([], {"read": 1}), "name": "sft",
        "key": {"sft": profile.sft.model_dump(mode="json")}, "model_path": "start", 
        "examples_path": world.examples, **given,
    }  # fmt: skip
    assert make_collator("of this") == "collator"
    assert list(wires.once("Collator").values()) == ["of this", profile.model.prompt, 41]
    assert load(tmp_path / "last") == (model, "processor")
    assert wires.once("load_policy") == {"start": "start", "checkpoint": tmp_path / "last", "seed": SEED,
                                         "settings": profile.model,
                                         **({"sharded": True} if sharded else {})}  # fmt: skip
    assert seen == ([("vision learns", False), "recompute"] if sharded else [])


def test_a_consistency_judge_learns_drawn_opinions_with_its_own_settings(
    wires: Wires, tmp_path: Path
) -> None:
    profile = distinct_profile(judges={"weak": {"examples": 4}})
    opinions = [Opinion(f"reasoning {n}", Verdict.FIRST if n % 3 else Verdict.SECOND, n % 2 == 0, f"p{n}")
                for n in range(9)]  # fmt: skip
    settings = profile.judges.weak
    wires.cut(consistency, "train_sft", tmp_path / "done")
    given = {"base": "base", "out": tmp_path, "model_settings": profile.model}
    chosen = {}
    for seed in (SEED, SEED + 1):
        consistency.train_consistency_judge(opinions, settings=settings, seed=seed, **given)
        rows = read_jsonl(tmp_path / "examples.jsonl")
        chosen[seed] = [int(re.findall(r"reasoning (\d)", row["text"])[0]) for row in rows]
        assert [row["completion"] for row in rows] == [str(int(n % 2 == 0)) for n in chosen[seed]]
    assert chosen[SEED] != chosen[SEED + 1] and all(len(one) == 4 == len(set(one)) for one in chosen.values())
    asked = wires.of("train_sft")[0]
    assert asked == {
        "model_path": "base", "examples_path": tmp_path / "examples.jsonl", "out": tmp_path,
        "settings": SFTSettings(epochs=settings.epochs, learning_rate=settings.learning_rate,
                                batch_size=settings.batch_size, micro_batch_size=settings.batch_size),
        "model_settings": profile.model, "seed": SEED, "read": consistency.read_text_examples,
    }  # fmt: skip


def test_both_consistency_judges_are_made_and_trained_by_the_profile(wires: Wires, tmp_path: Path) -> None:
    wires.cut(consistency, "train_consistency_judge")
    wires.cut(consistency, "make_consistency_judge", lambda name, **_: f"{name} judge")
    wires.cut(consistency, "measure_consistency_judge", lambda judge, **_: {"of": judge})
    learned, held_out = ([Opinion(".", Verdict.FIRST, True, name)] for name in ("a", "b"))
    for name in ("trained", "server"):
        profile = distinct_profile(judges={"name": name})
        found = consistency.make_consistency_judges(
            learned, held_out, profile=profile, out=tmp_path, seed=SEED
        )
        assert found == {"strong": {"of": "strong judge"}, "weak": {"of": "weak judge"}}
        if name == "trained":
            for each, taught in zip(("strong", "weak"), wires.of("train_consistency_judge"), strict=True):
                assert taught == {
                    "opinions": learned, "base": profile.model.base, "out": tmp_path / each, "seed": SEED,
                    "settings": getattr(profile.judges, each), "model_settings": profile.model,
                }  # fmt: skip
    assert len(wires.of("train_consistency_judge")) == 2, "behind a server nothing is trained"
    for each, made in zip(("strong", "weak") * 2, wires.of("make_consistency_judge"), strict=True):
        assert {**made, "profile": None} == {
            "profile": None, "name": each, "folder": tmp_path, "seed": SEED, "cache": tmp_path / each,
        }  # fmt: skip
    assert [one["opinions"] for one in wires.of("measure_consistency_judge")] == [held_out] * 4


@pytest.mark.parametrize("own", [False, True])
def test_rl_hands_its_settings_on(own: bool, world: World, wires: Wires, tmp_path: Path) -> None:
    profile = distinct_profile()
    own_reward: Any = lambda *parts: parts[0]  # noqa: E731
    formulas = rl.Formulas(reward=own_reward) if own else rl.PAPER
    known = read_pairs(world.pairs)
    wires.cut(rl, "usable_pairs", Sifted(known, {"no picture": 2}))
    wires.cut(rl, "train_policy", "result")
    wires.cut(rl, "JudgeTask", "task")
    sections = {"settings": profile.rl, "model_settings": profile.model, "engine_settings": profile.engine}
    given = {**sections, "seed": SEED, "out": tmp_path / "out", "record": tmp_path / "record"}
    asked = {**given, "formulas": formulas, "judge": "judge"}
    assert rl.train_rl("start", world.pairs, **asked) == "result"
    budget = Budget(profile.model.min_pixels, profile.model.max_pixels)
    assert list(wires.once("usable_pairs").values()) == [world.pairs, budget]
    assert wires.once("JudgeTask") == {"judge": "judge", "settings": profile.rl,
                                       "prompt": profile.model.prompt,
                                       **({"reward": formulas.reward} if own else {})}  # fmt: skip
    assert wires.once("train_policy") == {
        "task": "task", "model_path": "start", "items": known, "left_out": {"no picture": 2},
        "items_hash": rl.sha256_file(world.pairs), "formulas": formulas, **given,
    }  # fmt: skip


@pytest.mark.parametrize("kl_coef", [0.0, 0.7])
@pytest.mark.parametrize("rank", [0, 5])
def test_what_is_trained_is_loaded_with_its_own_settings(
    kl_coef: float, rank: int, wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = distinct_profile(rl={"kl_coef": kl_coef}, model={"lora": {"rank": rank}})
    model, reference = torch.nn.Linear(2, 3), torch.nn.Linear(2, 3)
    model.bias.requires_grad_(False)
    wires.cut(learner, "load_policy", (model, "processor"))
    wires.cut(learner, "load_model", (reference, "its processor"))
    wires.cut(learner, "TransformersEngine", "engine")
    followed: list[Path] = []
    wires.cut(learner, "Sampler", SimpleNamespace(model="who samples", load=followed.append))
    wires.cut(learner, "checkpoint_state", {"update_count": 17, "step": 5})
    wires.cut(learner, "load_optimizer")
    task: Any = JudgeTask("judge", settings=profile.rl, prompt="mini")  # type: ignore[arg-type]
    sections = {"settings": profile.rl, "model_settings": profile.model, "engine_settings": profile.engine}
    made = learner.make_learner("start", **sections, task=task, seed=SEED, steps=9, checkpoint=tmp_path)
    assert wires.once("load_policy") == {"start": "start", "checkpoint": tmp_path, 
                                         "settings": profile.model, "seed": SEED}  # fmt: skip
    whole = {} if rank else {"train": True}
    loaded = [{"path": "start", "settings": profile.model, **whole}] if kl_coef else []
    assert wires.of("load_model") == loaded and made.reference is (reference if kl_coef else None)
    assert wires.once("TransformersEngine") == {
        "model": "who samples", "processor": "processor", "batch_size": profile.engine.batch_size,
        "max_prompt_tokens": profile.engine.max_prompt_tokens,
    }  # fmt: skip
    assert list(wires.once("Sampler").values()) == [model, profile.rl] and followed == [tmp_path]
    assert (made.settings, made.max_new_tokens, made.seed, made.steps) == (
        profile.rl, profile.engine.max_new_tokens, SEED, 9,
    )  # fmt: skip
    assert (made.update_count, made.engine, made.task, made.processor) == (17, "engine", task, "processor")
    (group,) = made.optimizer.param_groups
    assert (group["lr"], group["betas"], group["weight_decay"]) == (
        profile.rl.learning_rate,
        (0.9, 0.95),
        0.0,
    )
    assert group["params"] == [model.weight]
    assert list(wires.once("load_optimizer").values()) == [made.optimizer, tmp_path]


def test_answers_for_opinions_are_sampled_with_the_profiles_engine(wires: Wires) -> None:
    profile = distinct_profile()
    wires.cut(consistency, "load_engine", "engine")
    wires.cut(consistency, "judge_samples", [])
    consistency.sample_answers("policy", [], profile=profile, seed=SEED)
    assert wires.once("load_engine") == {"checkpoint": "policy", "profile": profile}
    asked = wires.once("judge_samples")
    assert (asked["engine"], asked["prompt"]) == ("engine", profile.model.prompt)
    assert asked["sampling"] == Sampling(profile.engine.max_new_tokens, temperature=1.0, seed=SEED)


@pytest.mark.parametrize("own", [False, True])
def test_what_a_run_used_is_recorded_of_its_settings(own: bool) -> None:
    settings = distinct_profile().rl
    judge: Any = SimpleNamespace(fingerprint="the judge")
    reward: Any = (lambda *parts: parts[0]) if own else None
    task = JudgeTask(judge, settings=settings, prompt="paper", reward=reward)
    assert task.used() == {
        "consistency_judge": "the judge", "external_consistency": True, "prompt": "paper",
        "consistency_weight": tasks.OWN if own else settings.consistency_weight,
    }  # fmt: skip


def test_answers_that_are_shown_are_sampled_and_scored_as_in_a_rollout(wires: Wires) -> None:
    profile = distinct_profile()
    wires.cut(tasks, "load_engine", "engine")
    wires.cut(tasks, "judge_samples", ["votes"])
    wires.cut(tasks, "score_votes", "scored")
    judge: Any = "judge"
    reward: Any = "reward"
    found = tasks.sample_scored("policy", ["pairs"], profile=profile, judge=judge, seed=SEED, reward=reward)  # type: ignore[list-item]
    assert found == "scored" and wires.once("load_engine") == {"checkpoint": "policy", "profile": profile}
    sampling = Sampling(profile.engine.max_new_tokens, profile.rl.temperature, 1, SEED)
    assert wires.once("judge_samples") == {
        "engine": "engine", "pairs": ["pairs"], "prompt": profile.model.prompt, "sampling": sampling,
    }  # fmt: skip
    assert wires.once("score_votes") == {
        "pairs": ["pairs"], "votes": ["votes"], "judge": "judge", "settings": profile.rl, "reward": "reward",
    }  # fmt: skip
