"""StableReinforce's reward, advantages and ratio as arguments of `train_rl` (paper §3.1, §3.2).

A formula that a caller brings is known by its source and by the values that it names: the record of the run
shows both, and a run with another formula is another run.
"""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# In a record, in place of a setting that a caller's formula makes idle.
OWN = "own formula"


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """What the reward sees of B sampled answers, as tensors (B,).

    `result` is 1 where the verdict is right, `formatting` where the form is kept, `length` counts tokens.
    `consistency` is 1 where the consistency judge finds that the reasoning supports the verdict. It is asked
    about right answers (all under `external_consistency`) and 0 where it was not asked or did not know.
    """

    result: Tensor
    consistency: Tensor
    formatting: Tensor
    length: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Formulas:
    """A caller's own formulas; where one is None the package's acts, as the settings have it.

    Args:
        reward: from `Answers` to their rewards (B,).
        advantages: from the rewards (N,) of the tokens of a rollout, less any KL penalty, to theirs (N,).
            Under GRPO it is given rewards that are measured within the answers to a prompt.
        ratio: from new and old log-probs (B, T) to the probability ratio (B, T), with its gradient.

    Raises ValueError for a function whose source cannot be read, as nothing would tell its run from others.
    """

    reward: Callable[[Answers], Tensor] | None = None
    advantages: Callable[[Tensor], Tensor] | None = None
    ratio: Callable[[Tensor, Tensor], Tensor] | None = None
    described: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        # Read now: the process that trains has no notebook in which to look the source up.
        own = {"reward": self.reward, "advantages": self.advantages, "ratio": self.ratio}
        described = {name: _describe(name, function) for name, function in own.items() if function}
        object.__setattr__(self, "described", described)


def checked(name: str, values: Tensor, *, like: Tensor) -> Tensor:
    """What a caller's formula returned. Raises ValueError unless it is finite and has the shape of `like`."""
    if not isinstance(values, Tensor) or values.shape != like.shape:
        shape = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
        raise ValueError(f"the formula {name} must return a tensor of shape {tuple(like.shape)}, got {shape}")
    if not bool(torch.isfinite(values).all()):
        raise ValueError(f"the formula {name} returned values that are not finite")
    return values


def _describe(name: str, function: Callable[..., Any]) -> dict[str, Any]:
    try:
        source = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError) as error:
        raise ValueError(f"{name}: define it with def, in a file or a notebook's cell ({error})") from error
    named = inspect.getclosurevars(function)
    values = {**named.globals, **named.nonlocals}
    return {"source": source, "values": {key: _value(key, values[key]) for key in sorted(values)}}


def _value(name: str, value: Any) -> Any:
    """A value that a formula names, as JSON: what a caller defined by its source, a library's by its name."""
    if isinstance(value, bool | int | float | str | None):
        return value
    if inspect.ismodule(value):
        return value.__name__
    if inspect.isfunction(value) and value.__module__ == "__main__":
        return _describe(name, value)
    if callable(value):
        return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', name)}"
    return repr(value)
