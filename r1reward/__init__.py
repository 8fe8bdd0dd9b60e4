"""R1-Reward: a multimodal reward model trained by StableReinforce (arXiv:2505.02835)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from r1reward.judge.generative import R1Reward as R1Reward

__version__ = "0.1.0"
__all__ = ["R1Reward", "__version__"]
# Loaded when they are first named, because they load torch.
EXPORTS = {"R1Reward": "r1reward.judge.generative"}


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module 'r1reward' has no attribute {name!r}")
    return getattr(import_module(EXPORTS[name]), name)
