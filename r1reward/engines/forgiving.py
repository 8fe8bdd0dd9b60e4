"""Requests that cannot be answered cost themselves: what is asked beside them is answered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from r1reward.engines.base import Engine, EngineError, NonFiniteError, Progress, Sampling
from r1reward.types import Completion, Request

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class NotAsked(Completion):
    """Stands for the answer to a request that could not be asked; `error` says why."""

    error: str = ""


def ask_each(ask: Callable[..., Sequence[T]], requests: Sequence[Request], **options: Any) -> list[T | str]:
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
