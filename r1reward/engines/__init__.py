"""One way to ask a model: requests with pictures go in, completions with token log-probs come out."""

from __future__ import annotations

from pathlib import Path

from r1reward.engines.base import Engine, EngineError, Sampling
from r1reward.pictures import Budget
from r1reward.settings import Profile

__all__ = ["Engine", "EngineError", "Sampling", "identify", "load_engine"]


def identify(checkpoint: str | Path, profile: Profile) -> str:
    """Checkpoint, sizes and engine behind answers; answers of another are not the same."""
    from r1reward.engines.loading import checkpoint_hash

    settings = (profile.model.model_dump_json(exclude={"base"}), profile.engine.model_dump_json())
    return " ".join([checkpoint_hash(checkpoint), *settings])


def load_engine(checkpoint: str | Path, profile: Profile) -> Engine:
    """The profile's engine for a checkpoint folder or hub id; "mini" is the shipped tiny base model.

    For a server, `checkpoint` is the model's name there. Raises ServerError or EngineError where an extra
    is missing, FileNotFoundError where there is no such model, and ValueError where `engine.openai.model`
    names another model than the one to be loaded.
    """
    settings = profile.engine
    if settings.name == "openai":
        from r1reward.engines.openai import OpenAIEngine

        name = settings.openai.model or str(checkpoint)
        if name != str(checkpoint):
            raise ValueError(f"engine.openai.model is {name}, but {checkpoint} is to answer: leave it empty")
        budget = Budget(profile.model.min_pixels, profile.model.max_pixels)
        return OpenAIEngine(settings.openai.model_copy(update={"model": name}), budget=budget)
    try:
        return _load_local(checkpoint, profile)
    except OSError as error:
        said = str(error).strip().partition("\n")[0]
        raise FileNotFoundError(f"{checkpoint} is neither here nor on the hub: {said}") from error


def _load_local(checkpoint: str | Path, profile: Profile) -> Engine:
    settings = profile.engine
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
