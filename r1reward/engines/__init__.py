"""One way to ask a model: requests with pictures go in, completions with token log-probs come out.

No heavy imports here: judges and benchmarks depend on this file alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from r1reward.pictures import Budget
from r1reward.settings import Profile
from r1reward.types import Completion, Request

Progress = Callable[[int, int], None]
T = TypeVar("T")


class EngineError(RuntimeError):
    """A request that cannot be answered; the message names the request's origin."""


class PictureError(EngineError):
    """A picture that is missing or cannot be read."""


class PromptTooLongError(EngineError):
    """A prompt with more tokens, pictures included, than the limit."""


class NonFiniteError(EngineError):
    """Numbers that are not finite: a model that has collapsed. `tensors` are what was seen then."""

    def __init__(self, message: str, tensors: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.tensors = dict(tensors or {})


@dataclass(frozen=True, slots=True)
class Sampling:
    """How answers are drawn. Temperature 0 is greedy; every request gets `samples` answers."""

    max_new_tokens: int
    temperature: float = 1.0
    samples: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1 or self.samples < 1 or not self.temperature >= 0:
            raise ValueError(f"sampling needs at least one token and sample and temperature >= 0, got {self}")

    def seed_of(self, place: int, sample: int) -> int:
        """Seed, of 32 bits, of one answer for an engine that takes one with each request."""
        return int(np.random.SeedSequence([self.seed, place, sample]).generate_state(1)[0])


class Engine(Protocol):
    """Answers requests. The same requests, sampling and weights give the same completions."""

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, progress: Progress | None = None
    ) -> list[tuple[Completion, ...]]:
        """`sampling.samples` completions of every request, in the order of `requests`.

        `progress(done, total)` counts completions. Raises EngineError for a request that cannot be
        answered.
        """
        ...


@dataclass(frozen=True, slots=True)
class NotAsked(Completion):
    """Stands for the answer to a request that could not be asked; `error` says why.

    Such a request costs itself alone: what is asked beside it is answered.
    """

    error: str = ""


def ask_each(ask: Callable[..., Sequence[T]], requests: Sequence[Any], **options: Any) -> list[T | str]:
    """What `ask(requests, **options)` gives for each request; where one cannot be asked, its error in words.

    What fails is asked again in halves, so that a few bad ones cost little. A collapsed model
    (NonFiniteError) is no request's fault and is raised.
    """
    try:
        return list(ask(requests, **options))
    except NonFiniteError:
        raise
    except EngineError as error:
        if len(requests) == 1:
            return [str(error)]
        half = len(requests) // 2
        return [*ask_each(ask, requests[:half]), *ask_each(ask, requests[half:])]


class ForgivingEngine(Engine):
    """An engine that answers `NotAsked` where another raises EngineError for a request.

    Random numbers are those of the whole call.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, progress: Progress | None = None
    ) -> list[tuple[Completion, ...]]:
        def ask(part: Sequence[Request], **options: Any) -> Sequence[tuple[Completion, ...]]:
            return self._engine.generate(part, sampling, **options)

        placed = [replace(one, place=one.place_or(index)) for index, one in enumerate(requests)]
        found = ask_each(ask, placed, progress=progress)
        nothing = NotAsked("", (), (), "stop")
        return [
            (replace(nothing, error=one),) * sampling.samples if isinstance(one, str) else one
            for one in found
        ]


def errors_of(completions: Sequence[Completion]) -> list[str]:
    """Why those that stand for no answer could not be asked."""
    return [one.error for one in completions if isinstance(one, NotAsked)]


def read_completion(
    tokenizer: Any, ids: Sequence[int], log_probs: Sequence[float], *, ended: bool
) -> Completion:
    """The completion of some tokens; with `ended` the last one ends the answer and is not in its text."""
    text = tokenizer.decode(
        list(ids[:-1] if ended else ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
    )
    tokens = tuple(token or "" for token in tokenizer.convert_ids_to_tokens(list(ids)))
    return Completion(text, tuple(ids), tuple(log_probs), "stop" if ended else "length", tokens)


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
    from r1reward.engines.loading import load_model
    from r1reward.engines.transformers import TransformersEngine

    return TransformersEngine(
        *load_model(checkpoint, settings=profile.model),
        batch_size=settings.batch_size,
        max_prompt_tokens=settings.max_prompt_tokens,
    )
