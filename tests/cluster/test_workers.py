"""What a launch gives to the driver and to every worker of Ray, read back in processes of their own."""

import importlib
import importlib.metadata
import json
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from r1reward.cluster import hook
from r1reward.cluster.launch import MODULE, Launch, prepare, run
from r1reward.config import load_profile
from r1reward.data.storage import write_pairs
from r1reward.types import PreferencePair

KEY = "a-key/with=signs"
NAMES = "log_probs, old_log_probs, advantages, action_mask=None, rollout_log_probs=None, dp_size=1"
LOSS = f"""def forward(self, {NAMES}, batch_num_tokens=None, global_batch_size=None):
        return (log_probs - old_log_probs).exp()"""
# OpenRLHF as a package of three modules, with the methods that the hook looks for.
UPSTREAM = {
    "models/loss.py": f"class PolicyLoss:\n    {LOSS}",
    "trainer/ppo_utils/experience_maker.py": "class RemoteExperienceMaker:\n"
    "    def compute_advantages_and_returns(self, experiences):\n        return experiences",
    "trainer/ray/ppo_actor.py": "class ActorPPOTrainer:\n"
    "    def training_step(self, experience, kl_ctl, step, loss_batch_info=None):\n"
    "        return {'metrics': {'policy_loss': 0.0}, 'weights': {}}",
}
# A worker: it calls the setup hook by its name, as Ray does, imports OpenRLHF and shows what its methods do.
WORKER = """
import importlib, json, sys
module, _, function = sys.argv[1].rpartition(".")
getattr(importlib.import_module(module), function)()
import torch
from types import SimpleNamespace
from openrlhf.models.loss import PolicyLoss
from openrlhf.trainer.ppo_utils.experience_maker import RemoteExperienceMaker
from openrlhf.trainer.ray.ppo_actor import ActorPPOTrainer
mask = torch.ones(1, 2)
loss = PolicyLoss()
ratio = loss.forward(torch.tensor([[9.0, 0.0]]), torch.zeros(1, 2), torch.ones(1, 2), mask)
one = SimpleNamespace(advantages=torch.tensor([[2.5, -1.0]]), action_mask=mask, info={})
(one,) = RemoteExperienceMaker().compute_advantages_and_returns([one])
trainer = ActorPPOTrainer()
trainer.actor_loss_fn = loss
logged = trainer.training_step(None, 0.0, 0)["metrics"]
from r1reward.cluster.rewards import AnswerScorer
scorer = AnswerScorer.from_environment()
print(json.dumps({"ratio": float(ratio[0, 0]), "advantages": one.advantages[0].tolist(),
                  "logged": sorted(logged), "weight": scorer._settings.consistency_weight,
                  "judge": type(scorer._judge).__name__}))
"""


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A folder with the package, at the version that the hook was written for."""
    root = tmp_path / "site"
    for name, text in UPSTREAM.items():
        file = root / "openrlhf" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        for folder in (file.parent, *file.parent.parents):
            if folder.is_relative_to(root / "openrlhf"):
                (folder / "__init__.py").touch()
        file.write_text(text + "\n")
    (root / f"openrlhf-{hook.OPENRLHF}.dist-info").mkdir()
    metadata = f"Metadata-Version: 2.1\nName: openrlhf\nVersion: {hook.OPENRLHF}\n"
    (root / f"openrlhf-{hook.OPENRLHF}.dist-info" / "METADATA").write_text(metadata)
    return root


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """A prepared run whose settings are not the defaults, with a judge that wants a key."""
    monkeypatch.setenv("JUDGE_KEY", KEY)
    picture = tmp_path / "a.png"
    Image.new("RGB", (56, 56), "red").save(picture)
    pairs = [
        PreferencePair(f"p{i}", "s", "what ?", ("red .", "blue ."), 1, (str(picture),)) for i in range(8)
    ]
    overrides = {
        "rl": {"rollout_batch_size": 8, "train_batch_size": 8, "micro_batch_size": 2, "pre_clip": 5.0,
               "advantage_limit": 2.0, "consistency_weight": 0.25},
        "cluster": {"gpus_per_node": 2, "engines": 2},
        "judges": {"name": "server",
                   "server": {"base_url": "http://localhost:1/v1", "key_variable": "JUDGE_KEY"}},
    }  # fmt: skip
    profile = load_profile("mini", overrides=overrides)
    return prepare(
        profile, start="mini", pairs=write_pairs(tmp_path / "rl.jsonl", pairs), out=tmp_path / "out", seed=5
    )


def forget_openrlhf() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "openrlhf"]:
        del sys.modules[name]


@pytest.fixture
def ran(
    launch: Launch, upstream: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], tuple[dict[str, Any], dict[str, Any]]]]:
    """Runs the launch with a Ray that only notes; returns what it was given, and what OpenRLHF saw."""

    def go() -> tuple[dict[str, Any], dict[str, Any]]:
        given: dict[str, Any] = {}
        seen: dict[str, Any] = {}
        ray = ModuleType("ray")
        ray.init, ray.shutdown = lambda **options: given.update(options), lambda: None  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.setattr(os, "environ", dict(os.environ))
        monkeypatch.syspath_prepend(str(upstream))
        monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))

        def openrlhf(name: str, run_name: str) -> None:
            loss = importlib.import_module("openrlhf.models.loss").PolicyLoss
            patched = hasattr(loss.forward, hook.PATCHED)
            seen.update(name=name, argv=list(sys.argv), patched=patched)
            raise SystemExit

        monkeypatch.setattr(runpy, "run_module", openrlhf)
        with pytest.raises(SystemExit):
            run(launch, address="somewhere:6379")
        return given, seen

    forget_openrlhf()
    yield go
    forget_openrlhf()


def test_the_driver_is_hooked_and_runs_the_flags(launch: Launch, ran: Callable[[], Any]) -> None:
    given, seen = ran()
    assert seen == {"name": MODULE, "argv": [MODULE, *launch.flags], "patched": True}
    assert given["address"] == "somewhere:6379"


def test_a_worker_does_what_the_settings_say(ran: Callable[[], Any], upstream: Path) -> None:
    """The environment and the hook are those that Ray was given, in a process that inherits nothing else."""
    given, _ = ran()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("R1REWARD")}
    path = os.pathsep.join([str(upstream), str(Path(hook.__file__).parents[2])])
    variables = given["runtime_env"]["env_vars"]
    done = subprocess.run(
        [sys.executable, "-c", WORKER, given["runtime_env"]["worker_process_setup_hook"]],
        env={**kept, **variables, "PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout)
    assert found["ratio"] == pytest.approx(5.0), "Pre-CLIP at rl.pre_clip"
    assert found["advantages"] == [0.0, -1.0], "the filter at rl.advantage_limit"
    assert {"pre_clip_high_positive", "pre_clip_low_negative"} <= set(found["logged"])
    assert found["weight"] == 0.25 and found["judge"] == "ServerConsistencyJudge"


def test_the_judges_key_reaches_workers_and_no_file(launch: Launch, ran: Callable[[], Any]) -> None:
    given, _ = ran()
    assert given["runtime_env"]["env_vars"]["JUDGE_KEY"] == KEY
    assert KEY not in launch.command() and KEY not in json.dumps(dict(launch.environment))
    written = [file for file in launch.out.rglob("*") if file.is_file() and not file.is_symlink()]
    assert launch.out / "launch.json" in written
    assert not [file for file in written if KEY.encode() in file.read_bytes()]


def test_what_is_not_installed_is_one_line(launch: Launch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(hook, "version", importlib.metadata.version)
    with pytest.raises(RuntimeError, match=r'OpenRLHF is not installed: pip install -e "\.\[openrlhf\]"'):
        run(launch)


def test_the_seed_of_the_rewards_is_the_runs(launch: Launch) -> None:
    environment = SimpleNamespace(**launch.environment)
    assert environment.R1REWARD_SEED == "5" and json.loads(environment.R1REWARD_RL)["pre_clip"] == 5.0
