"""One way to ask a model: requests with pictures go in, completions with token log-probs come out."""

from __future__ import annotations

from pathlib import Path

from r1reward.engines.base import Engine, EngineError, Sampling
from r1reward.settings import Profile

__all__ = ["Engine", "EngineError", "Sampling", "load_engine"]


def load_engine(checkpoint: str | Path, profile: Profile) -> Engine:
    """The profile's engine for a checkpoint folder or hub id; "mini" is the shipped tiny base model.

    For a server, `checkpoint` is the model's name there unless `engine.openai.model` is set. Raises
    ServerError or EngineError where an extra is missing.
    """
    settings = profile.engine
    if settings.name == "openai":
        from r1reward.engines.openai import OpenAIEngine

        model = settings.openai.model or str(checkpoint)
        return OpenAIEngine(settings.openai.model_copy(update={"model": model}))
    if settings.name == "vllm":
        from r1reward.engines.vllm import VLLMEngine

        return VLLMEngine.from_pretrained(checkpoint, model=profile.model, settings=settings)
    from r1reward.engines.transformers import TransformersEngine

    return TransformersEngine.from_pretrained(
        checkpoint,
        settings=profile.model,
        batch_size=settings.batch_size,
        max_prompt_tokens=settings.max_prompt_tokens,
    )
