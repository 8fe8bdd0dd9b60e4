"""One way to ask a model: requests with pictures go in, completions with token log-probs come out."""

from __future__ import annotations

from pathlib import Path

from r1reward.engines.base import Engine, EngineError, Sampling
from r1reward.settings import Profile

__all__ = ["Engine", "EngineError", "Sampling", "load_engine"]


def load_engine(checkpoint: str | Path, profile: Profile) -> Engine:
    """The profile's engine for a checkpoint folder or hub id; "mini" is the shipped tiny base model."""
    from r1reward.engines.transformers import TransformersEngine

    return TransformersEngine.from_pretrained(
        checkpoint,
        settings=profile.model,
        batch_size=profile.engine.batch_size,
        max_prompt_tokens=profile.engine.max_prompt_tokens,
    )
