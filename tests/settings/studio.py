"""The smallest real runs under a profile, and what they leave behind: tensors, records, requests."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest
import torch
from helpers import World, score_by_tokens
from safetensors.torch import load_file
from torch import Tensor

from r1reward.config import load_profile
from r1reward.data.storage import read_pairs
from r1reward.engines import Sampling
from r1reward.engines.transformers import TransformersEngine
from r1reward.files import read_json, read_jsonl
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.settings import Profile
from r1reward.train import rl
from r1reward.train.learner import Learner, make_learner
from r1reward.train.sft import Collator, train_sft
from r1reward.types import Completion, PreferencePair, Request

Changes = Mapping[str, Any]
SMALL: dict[str, Any] = {
    "processes": 1,
    "engine": {"batch_size": 8, "max_new_tokens": 3},
    "sft": {
        "batch_size": 4,
        "micro_batch_size": 4,
        "max_examples": None,
        "learning_rate": 1e-3,
        "save_steps": 9,
    },
    "reward_model": {"batch_size": 4, "micro_batch_size": 4, "max_examples": None, "save_steps": 9},
    "rl": {
        "learning_rate": 1e-3,
        "rollout_batch_size": 4,
        "train_batch_size": 2,
        "micro_batch_size": 2,
        "max_steps": 1,
        "save_steps": 1,
        "warmup_ratio": 0.0,
        "schedule": "constant",
        # An untrained model never ends its answers.
        "collapse_patience": 0,
    },
}  # fmt: skip


def nested(setting: str, value: Any) -> dict[str, Any]:
    """`rl.clip_eps` and a value as the overrides of a profile."""
    first, _, rest = setting.partition(".")
    return {first: nested(rest, value) if rest else value}


def profile_of(world: World, *changes: Changes) -> Profile:
    """The small profile with changes: {"rl.clip_eps": 0.1}."""
    merged: dict[str, Any] = {}
    base = {"model.base": str(world.model)}
    for one in (SMALL, *(nested(*item) for some in (base, *changes) for item in some.items())):
        merged = _laid_over(merged, one)
    return load_profile("smoke", overrides=merged)


def _laid_over(below: Changes, above: Changes) -> dict[str, Any]:
    both = {name: (below.get(name), value) for name, value in above.items()}
    laid = {
        name: _laid_over(old, new) if isinstance(old, Mapping) and isinstance(new, Mapping) else new
        for name, (old, new) in both.items()
    }
    return {**below, **laid}


@dataclass(frozen=True)
class Trained:
    """A finished run: its rows of metrics, its status, its weights and its folder."""

    folder: Path
    rows: list[dict[str, Any]]
    status: dict[str, Any]
    weights: dict[str, Tensor]

    def moved(self, start: dict[str, Tensor]) -> float:
        """The largest change of a weight."""
        return max(float((self.weights[name] - start[name]).abs().max()) for name in start)

    def checkpoints(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "checkpoints").glob("step_*"))

    def updates(self) -> int:
        """Optimizer steps of an RL run, as its last checkpoint counts them."""
        return read_json(self.folder / "checkpoints" / self.checkpoints()[-1] / "state.json")["update_count"]


def differ(one: Trained, other: Trained) -> bool:
    return any(not torch.equal(one.weights[name], other.weights[name]) for name in one.weights)


@dataclass
class Studio:
    """Runs of the tiny world; the same run is made once."""

    world: World
    folder: Path
    known: dict[str, Trained] = field(default_factory=dict)

    @property
    def start(self) -> dict[str, Tensor]:
        """Weights that every run starts from."""
        return load_file(self.world.model / "model.safetensors")

    def profile(self, changes: Changes | None = None) -> Profile:
        return profile_of(self.world, changes or {})

    def fresh(self) -> Path:
        """An empty folder."""
        self.folder.mkdir(exist_ok=True)
        return Path(mkdtemp(dir=self.folder))

    def rl(self, changes: Changes | None = None, *, seed: int = 1) -> Trained:
        """One run of `train_rl` with a reward that an untrained model can earn."""
        with easy_reward():
            return self._once("rl", changes or {}, seed, self._rl)

    def _rl(self, profile: Profile, out: Path, seed: int) -> Path:
        settings = {"model_settings": profile.model, "engine_settings": profile.engine}
        pairs, known = self.world.pairs, {"settings": profile.rl, **settings, "seed": seed}
        return rl.train_rl(profile.model.base, pairs, out=out, **known).model

    def sft(self, changes: Changes | None = None, *, seed: int = 1) -> Trained:
        """One cold start."""
        return self._once("sft", changes or {}, seed, self._sft)

    def _sft(self, profile: Profile, out: Path, seed: int) -> Path:
        known = {"settings": profile.sft, "model_settings": profile.model, "seed": seed}
        return train_sft(profile.model.base, self.world.examples, out=out, **known)

    def _once(
        self, kind: str, changes: Changes, seed: int, run: Callable[[Profile, Path, int], Path]
    ) -> Trained:
        name = json.dumps([kind, seed, dict(changes)], sort_keys=True)
        if name not in self.known:
            out = self.folder / f"run_{len(self.known)}"
            model = run(self.profile(changes), out, seed)
            rows, status = read_jsonl(out / "metrics.jsonl"), read_json(out / "status.json")
            self.known[name] = Trained(out, rows, status, load_file(model / "model.safetensors"))
        return self.known[name]

    def learner(self, changes: Changes | None = None, *, seed: int = 1) -> Learner:
        """What `train_rl` trains under a profile."""
        profile = self.profile(changes)
        judge = rl.JudgeTask(ScriptedConsistencyJudge(), settings=profile.rl, prompt=profile.model.prompt)
        sections = {"model_settings": profile.model, "engine_settings": profile.engine}
        return make_learner(
            profile.model.base, settings=profile.rl, **sections, task=judge, seed=seed, steps=1
        )

    def pairs(self) -> list[PreferencePair]:
        return read_pairs(self.world.pairs)


@contextmanager
def easy_reward() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rl.JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))
        yield


@dataclass
class Generated:
    """A call of the engine: what was asked, how, and what came out."""

    requests: list[Request]
    sampling: Sampling
    completions: list[tuple[Completion, ...]]
    engine: TransformersEngine


@contextmanager
def watch_engine() -> Iterator[list[Generated]]:
    """Everything that is generated meanwhile, in order."""
    calls: list[Generated] = []
    generate = TransformersEngine.generate

    def watched(self: Any, requests: Sequence[Request], sampling: Sampling, **others: Any) -> Any:
        completions = generate(self, requests, sampling, **others)
        calls.append(Generated(list(requests), sampling, completions, self))
        return completions

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransformersEngine, "generate", watched)
        yield calls


@contextmanager
def watch_collator() -> Iterator[list[list[str]]]:
    """Answers of the examples of every forward pass of a cold start."""
    seen: list[list[str]] = []
    collate = Collator.__call__

    def watched(self: Any, examples: Sequence[Any]) -> dict[str, Any]:
        seen.append([example.completion for example in examples])
        return collate(self, examples)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Collator, "__call__", watched)
        yield seen


Effect = Callable[[Studio], None]
EFFECTS: dict[str, Effect] = {}


def effect(*settings: str) -> Callable[[Effect], Effect]:
    """Enter a function as what shows that these settings have an effect; it has to name each of them."""

    def enter(function: Effect) -> Effect:
        for setting in settings:
            assert setting not in EFFECTS, f"{setting} stands in the table twice"
            EFFECTS[setting] = function
        assert inspect.getdoc(function), f"{function.__name__} says nothing"
        return function

    return enter
