"""What every engine offers. No heavy imports: judges and benchmarks depend on this file only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from r1reward.types import Completion, Request

Progress = Callable[[int, int], None]


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
