"""Puts StableReinforce into OpenRLHF, in place: Pre-CLIP into its loss, the filter behind its advantages.

OpenRLHF has no plug-in for either. Every worker of Ray calls `install` before it unpickles anything
(`worker_process_setup_hook`), and so does the driver. A module is patched the moment it has been imported.
Where upstream is not what this was written for, that import fails; nothing is ever skipped in silence.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

from r1reward.settings import RLSettings

SETTINGS_VARIABLE = "R1REWARD_RL"
OPENRLHF = "0.11.2"
PATCHED = "_r1reward"


class UpstreamError(ImportError, RuntimeError):
    """OpenRLHF is not the version this package was written for; the message says what differs.

    An ImportError, because it makes an import fail, and a RuntimeError, which a command shows as one line.
    """


def install() -> None:
    """Patch OpenRLHF in this process, now or when it is imported; the settings are in R1REWARD_RL.

    Raises UpstreamError for another version, KeyError without settings.
    """
    settings = RLSettings.model_validate_json(os.environ[SETTINGS_VARIABLE])
    _require_version()
    for name, patch in PATCHES.items():
        if name in sys.modules:
            patch(sys.modules[name], settings)
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(settings))


def patch_loss(module: ModuleType, settings: RLSettings) -> None:
    """Bound the log-ratio that `PolicyLoss` takes the exponential of, and keep what Pre-CLIP did."""
    from r1reward.algo.losses import pre_clip_shares  # noqa: PLC0415
    from r1reward.algo.ratio import clip_log_ratio  # noqa: PLC0415
    from r1reward.train.learner import pre_clip_bound  # noqa: PLC0415

    expected = ("self", "log_probs", "old_log_probs", "advantages", "action_mask", "rollout_log_probs",
                "dp_size", "batch_num_tokens", "global_batch_size")  # fmt: skip
    original = _method(module, "PolicyLoss", "forward", expected)
    bound = pre_clip_bound(settings)

    def forward(
        self: Any, log_probs: Any, old_log_probs: Any, advantages: Any, *rest: Any, **named: Any
    ) -> Any:
        mask = named["action_mask"] if "action_mask" in named else rest[0]
        log_ratio = (log_probs - old_log_probs).detach()
        self.pre_clip_shares = pre_clip_shares(log_ratio, advantages, mask.bool(), pre_clip=bound)
        if bound is not None:
            log_probs = old_log_probs + clip_log_ratio(log_probs, old_log_probs, pre_clip=bound)
        return original(self, log_probs, old_log_probs, advantages, *rest, **named)

    _replace(module.PolicyLoss, "forward", original, forward)


def patch_advantages(module: ModuleType, settings: RLSettings) -> None:
    """Filter the standardised advantages (3-sigma rule) and log the share that was filtered."""
    from r1reward.algo.advantages import filter_advantages  # noqa: PLC0415
    from r1reward.train.learner import advantage_limit  # noqa: PLC0415

    name, method = "RemoteExperienceMaker", "compute_advantages_and_returns"
    original = _method(module, name, method, ("self", "experiences"))
    limit = advantage_limit(settings)

    def compute_advantages_and_returns(self: Any, experiences: Any) -> Any:
        experiences = original(self, experiences)
        for experience in experiences:
            z, mask = experience.advantages, experience.action_mask.bool()
            tokens, bound = mask.sum(dim=-1).clamp(min=1), float("inf") if limit is None else limit
            experience.info["filtered_positive"] = ((z > bound) & mask).sum(dim=-1) / tokens
            experience.info["filtered_negative"] = ((z < -bound) & mask).sum(dim=-1) / tokens
            if limit is not None:
                experience.advantages = filter_advantages(z, limit=limit)
        return experiences

    _replace(module.RemoteExperienceMaker, method, original, compute_advantages_and_returns)


def patch_training_step(module: ModuleType, settings: RLSettings) -> None:
    """Log what Pre-CLIP did, and end the run where the loss is not finite: OpenRLHF goes on with NaN."""
    expected = ("self", "experience", "kl_ctl", "step", "loss_batch_info")
    original = _method(module, "ActorPPOTrainer", "training_step", expected)

    def training_step(self: Any, *values: Any, **named: Any) -> Any:
        status = original(self, *values, **named)
        loss = float(status["metrics"]["policy_loss"])
        if loss != loss or abs(loss) == float("inf"):
            raise FloatingPointError(f"the policy loss is {loss}: the run has collapsed")
        for name, share in self.actor_loss_fn.pre_clip_shares.items():
            status["metrics"][name], status["weights"][name] = share, "token"
        return status

    _replace(module.ActorPPOTrainer, "training_step", original, training_step)


PATCHES: dict[str, Callable[[ModuleType, RLSettings], None]] = {
    "openrlhf.models.loss": patch_loss,
    "openrlhf.trainer.ppo_utils.experience_maker": patch_advantages,
    "openrlhf.trainer.ray.ppo_actor": patch_training_step,
}


def _require_version() -> None:
    try:
        found = version("openrlhf")
    except PackageNotFoundError as error:
        raise UpstreamError(
            'OpenRLHF is not installed: pip install -e ".[openrlhf]" in the checkout'
        ) from error
    if found != OPENRLHF:
        raise UpstreamError(f"this was written for openrlhf {OPENRLHF}, {found} is installed")


def _method(module: ModuleType, name: str, method: str, expected: Sequence[str]) -> Any:
    """The method as upstream wrote it. Raises UpstreamError where it is gone or takes something else."""
    original = getattr(getattr(module, name, None), method, None)
    if original is None:
        raise UpstreamError(f"{module.__name__} has no {name}.{method}")
    original = getattr(original, PATCHED, original)
    found = tuple(inspect.signature(original).parameters)
    if found != tuple(expected):
        raise UpstreamError(f"{name}.{method} takes {', '.join(found)}, expected {', '.join(expected)}")
    return original


def _replace(owner: Any, method: str, original: Any, new: Any) -> None:
    patched = wraps(original)(new)
    setattr(patched, PATCHED, original)
    setattr(owner, method, patched)


class _Finder(MetaPathFinder):
    """Finds the modules to patch as every other finder would, and patches them once they are loaded."""

    def __init__(self, settings: RLSettings) -> None:
        self._settings = settings

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname not in PATCHES:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec and spec.loader:
                spec.loader = _Patching(spec.loader, self._settings)
                return spec
        return None


class _Patching(Loader):
    def __init__(self, loader: Any, settings: RLSettings) -> None:
        self._loader, self._settings = loader, settings

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        PATCHES[module.__name__](module, self._settings)
