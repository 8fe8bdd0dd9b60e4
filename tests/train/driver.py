"""A training process that meets its fate: python driver.py KIND WORLD OUT [TARGET COUNT FATE].

TARGET names where, at its COUNT-th call: rollout, update, checkpoint (while its files are being
written), rename (just before a checkpoint gets its name) or loss. FATE is SIGKILL, SIGTERM, or "full":
from there on no file may become larger than 4 KiB.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

from helpers import ENGINE, MODEL, RL, SFT, World, score_by_tokens

from r1reward.engines import log_probs
from r1reward.train import checkpoint, rl, sft

LARGEST_FILE = 4096


def meet(fate: str) -> None:
    if fate == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE, resource.RLIM_INFINITY))
    else:
        os.kill(os.getpid(), signal.Signals[fate])


def fateful(function: Callable[..., Any], count: int, fate: str) -> Callable[..., Any]:
    calls = 0

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == count:
            meet(fate)
        return function(*args, **kwargs)

    return wrapper


TARGETS: dict[str, tuple[Any, str]] = {
    # Inside the function: after some tokens, after some gradients, after some files.
    "rollout": (log_probs.torch, "log_softmax"),
    "update": (rl, "policy_loss"),
    "loss": (sft, "policy_forward"),
    "checkpoint": (checkpoint, "save_optimizer"),
    "rename": (checkpoint.os, "rename"),
}
# What each kind of RL run sets.
CHANGES = {"rl": {}, "lagged": {"rollout_lag": 2, "rollout_precision": "bfloat16", "save_steps": 1}}


def train(kind: str, world: World, out: Path) -> None:
    """Train in `out`, with checkpoints in `out/work` and records in `out/record`."""
    folders = {"out": out / "work", "record": out / "record"}
    if kind in CHANGES:
        original = rl.JudgeTask.score
        rl.JudgeTask.score = lambda self, pairs, completions: score_by_tokens(pairs, completions)
        try:
            rl.train_rl(
                world.model,
                world.pairs,
                settings=RL.model_copy(update={"epochs": 3, **CHANGES[kind]}),
                model_settings=MODEL,
                engine_settings=ENGINE,
                seed=5,
                **folders,
            )
        finally:
            rl.JudgeTask.score = original
    else:
        settings = SFT.model_copy(update={"epochs": 1.75})
        sft.train_sft(
            world.model,
            world.examples,
            settings=settings,
            model_settings=MODEL,
            seed=5,
            **folders,
        )


if __name__ == "__main__":
    kind, folder, out, *fate = sys.argv[1:]
    if fate:
        module, name = TARGETS[fate[0]]
        setattr(module, name, fateful(getattr(module, name), int(fate[1]), fate[2]))
    root = Path(folder)
    train(kind, World(root / "model", root / "pairs.jsonl", root / "examples.jsonl"), Path(out))
