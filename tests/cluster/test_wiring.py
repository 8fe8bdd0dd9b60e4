"""What reaches OpenRLHF, verl and their workers, shown on modules like theirs."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from wires import Wires, distinct_profile

from r1reward.cluster import launch, rewards
from r1reward.data.rows import Sifted
from r1reward.files import read_json, write_atomic
from r1reward.pictures import Budget
from r1reward.types import PreferencePair

SEED = 3


@pytest.fixture
def wires(monkeypatch: pytest.MonkeyPatch) -> Wires:
    return Wires(monkeypatch)


@pytest.mark.parametrize("judges", [None, "judges"])
def test_a_launch_hands_on_all_that_it_was_given(judges: str | None, wires: Wires, tmp_path: Path) -> None:
    profile = distinct_profile(rl={"rollout_batch_size": 2, "max_steps": None, "epochs": 7},
                               cluster={"nodes": 1}, judges={"name": "trained"})  # fmt: skip
    shown = {"images": ("a.png",), "frames": ("b.png", "c.png")}
    pairs = [
        PreferencePair(f"p{n}", "s", "what ?", ("a", "b"), 1, **(shown if n == 2 else {})) for n in range(5)
    ]
    path, out = write_atomic(tmp_path / "rl.jsonl", "pairs"), tmp_path / "out"
    folder = tmp_path / judges if judges else None
    model = (folder or out) / "strong" / "model"
    model.mkdir(parents=True)
    wires.cut(launch, "prepare_start", out / "start")
    wires.cut(launch, "usable_pairs", Sifted(pairs, {"no picture": 2}))
    wires.cut(launch, "rl_flags", ["--a", "1"])
    wires.cut(launch, "write_prompts")
    wires.cut(launch, "_vision_tokens", [151])
    wires.cut(launch, "checkpoint_hash", lambda path: f"hash of {path}")
    made = launch.prepare(profile, start="start", pairs=path, out=out, seed=SEED, judges=folder)
    budget = Budget(profile.model.min_pixels, profile.model.max_pixels)
    assert list(wires.once("usable_pairs").values()) == [path, budget]
    assert list(wires.once("prepare_start").values()) == ["start", out / "start", profile.model]
    assert wires.once("rl_flags") == {
        "profile": profile, "start": out / "start", "prompts": out / "prompts.jsonl", "pictures": 3,
        "passes": 7, "agent": launch.AGENT, "out": out, "seed": SEED,
    }  # fmt: skip
    assert wires.once("write_prompts") == {
        "pairs": pairs[:4], "out": out / "prompts.jsonl", "start": out / "start", "settings": profile.model,
        "max_prompt_tokens": profile.engine.max_prompt_tokens,
    }  # fmt: skip
    assert made.environment == {
        "R1REWARD_RL": profile.rl.model_dump_json(), "R1REWARD_PROFILE": profile.model_dump_json(),
        "R1REWARD_FOLDER": str(out), "R1REWARD_JUDGES": str(folder or out), "R1REWARD_SEED": str(SEED),
        "R1REWARD_VISION_TOKENS": "[151]", "TOKENIZERS_PARALLELISM": "false",
    }  # fmt: skip
    assert (made.out, made.flags) == (out, ["--a", "1"])
    assert read_json(out / "launch.json") == {
        "flags": ["--a", "1"], "environment": made.environment, "pairs": launch.sha256_file(path),
        "left_out": {"no picture": 2}, "start": "hash of start", "judge": f"hash of {model}",
    }  # fmt: skip


def test_a_worker_makes_the_scorer_of_its_run(
    wires: Wires, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = distinct_profile()
    known = {"PROFILE": profile.model_dump_json(), "FOLDER": str(tmp_path), "SEED": str(SEED),
             "JUDGES": str(tmp_path / "judges")}  # fmt: skip
    for name, value in known.items():
        monkeypatch.setenv(f"R1REWARD_{name}", value)
    wires.cut(rewards, "make_consistency_judge", "judge")
    wires.cut(rewards, "score_votes", [])
    scorer = rewards.AnswerScorer.from_environment()
    asked = wires.once("make_consistency_judge")
    assert asked.pop("cache").parent == tmp_path / "judge"
    assert asked == {"profile": profile, "name": "strong", "folder": tmp_path / "judges", "seed": SEED}
    scorer.score_all([])
    assert wires.once("score_votes") == {"pairs": [], "votes": [], "judge": "judge", "settings": profile.rl}


def test_an_answer_is_generated_and_scored_as_openrlhf_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    class SingleTurn:
        def __init__(self, reward: Any) -> None:
            assert reward is None

        async def execute(self, *given: Any) -> dict[str, Any]:
            asked.append(given)
            return {
                "action_ranges": [(2, 5)],
                "observation_tokens": [9, 9, 1, 2, 3],
                "truncated": True,
                "kept": 1,
            }

    class Scorer:
        async def score(self, completion: Any, label: str) -> dict[str, float]:
            asked.append((completion, label))
            return {"reward": 0.7, "reward_result": 1.0, "unparsed": 0.0}

    for name in ("openrlhf", "openrlhf.utils", "openrlhf.utils.agent"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setattr(
        sys.modules["openrlhf.utils.agent"], "SingleTurnAgentExecutor", SingleTurn, raising=False
    )
    monkeypatch.delitem(sys.modules, "r1reward.cluster.agent", raising=False)
    agent = importlib.import_module("r1reward.cluster.agent")
    monkeypatch.setenv("R1REWARD_VISION_TOKENS", "[151, 152]")
    monkeypatch.setattr(agent.AnswerScorer, "from_environment", classmethod(lambda cls: Scorer()))
    monkeypatch.setattr(agent, "read_completion", lambda *given, ended: (*given[:2], len(given[2]), ended))
    sampling = SimpleNamespace(temperature=0.5)
    given = ("prompt", "label", sampling, 77, SimpleNamespace(tokenizer="tokenizer"), "engine", "images")
    output = asyncio.run(agent.AgentExecutor().execute(*given))
    sys.modules.pop("r1reward.cluster.agent", None)
    (generated, scored) = asked
    assert generated[:2] + generated[3:] == given[:2] + given[3:]
    assert (generated[2].temperature, generated[2].logit_bias) == (0.5, {151: -100.0, 152: -100.0})
    assert not hasattr(sampling, "logit_bias"), "the parameters are OpenRLHF's own, for the next answer too"
    assert scored == (("tokenizer", [1, 2, 3], 3, False), "label")
    assert output == {
        "action_ranges": [(2, 5)], "observation_tokens": [9, 9, 1, 2, 3], "truncated": True, "kept": 1,
        "reward": 0.7, "scores": 1.0, "extra_logs": {"reward_result": 1.0, "unparsed": 0.0},
    }  # fmt: skip


def test_verl_gets_our_loss_reduced_as_it_was_asked_and_our_advantages(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    seen: dict[str, Any] = {}
    core = ModuleType("verl.trainer.ppo.core_algos")
    for kind in ("register_policy_loss", "register_adv_est"):
        setattr(core, kind, lambda name, kind=kind: lambda function: seen.setdefault(kind, name) and function)
    core.agg_loss = lambda **given: seen.update(given) or given["loss_mat"].sum()  # type: ignore[attr-defined]
    for name in ("verl", "verl.trainer", "verl.trainer.ppo"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, core.__name__, core)
    monkeypatch.delitem(sys.modules, "r1reward.cluster.verl", raising=False)
    module = importlib.import_module("r1reward.cluster.verl")
    sys.modules.pop("r1reward.cluster.verl", None)
    assert seen == {"register_policy_loss": "stable_reinforce", "register_adv_est": "stable_reinforce"}
    generator = torch.Generator().manual_seed(SEED)
    old, new, advantages = (torch.randn(2, 3, generator=generator) for _ in range(3))
    mask = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])
    config = SimpleNamespace(clip_ratio=0.2, clip_ratio_low=0.1, clip_ratio_high=0.3,
                             global_batch_info={"dp_size": 4, "batch_num_tokens": 5})  # fmt: skip
    weights = torch.full((2, 3), 0.5)
    _, metrics = module.stable_reinforce_loss(old, new, advantages, mask, "seq-mean", config, weights)
    expected = module.policy_loss("stable_reinforce", new, old_log_probs=old, advantages=advantages,
                                  mask=mask, clip_eps=0.1, clip_eps_high=0.3)  # fmt: skip
    torch.testing.assert_close(seen["loss_mat"], expected.per_token * 0.5)
    assert torch.equal(seen["loss_mask"], mask) and seen["loss_agg_mode"] == "seq-mean"
    assert (seen["dp_size"], seen["batch_num_tokens"]) == (4, 5)
    assert metrics == {f"actor/{name}": value for name, value in expected.metrics.items()}
    given = torch.tensor([[0.0, 2.0, 9.0], [0.0, 0.0, 1.0]])
    z, returns = module.stable_reinforce_advantages(given, mask)
    assert returns.tolist() == [[2.0, 2.0, 0.0], [1.0, 1.0, 1.0]], "rewards to go, of what counts"
    counted = torch.tensor([2.0, 2.0, 1.0, 1.0, 1.0])
    torch.testing.assert_close(z[mask.bool()], (counted - counted.mean()) / counted.std(), atol=0.2, rtol=0.2)
    assert json.dumps(metrics)
