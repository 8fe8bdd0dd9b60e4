"""Shows that values reach the place they are meant for: a profile without equal numbers, and stand-ins.

A setting that is taken from a neighbour, an argument that is left out, two that change places and a seed that
is a constant all look right where neighbours are equal and seeds are 0. Here they are not.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from itertools import count
from typing import Any, TypeVar

import pytest
from pydantic import BaseModel, ValidationError

from r1reward.config import load_profile
from r1reward.settings import Profile

Section = TypeVar("Section", bound=BaseModel)


def distinct_profile(name: str = "smoke", **overrides: Any) -> Profile:
    """The profile, each of its numbers another one and each of its switches turned; `overrides` stay."""
    return _distinct(load_profile(name, overrides=overrides), count(20), overrides)


def _distinct(section: Section, numbers: Iterator[int], kept: Any) -> Section:
    changes: dict[str, Any] = {}
    for name, value in section:
        stays = kept.get(name, {}) if isinstance(kept, dict) else {}
        if isinstance(value, BaseModel):
            changes[name] = _distinct(value, numbers, stays)
        elif isinstance(value, bool | int | float) and not (isinstance(kept, dict) and name in kept):
            changes[name] = next(one for one in _others(value, next(numbers)) if _may_be(section, name, one))
    return section.model_copy(update=changes)


def _others(value: float, number: int) -> list[Any]:
    if isinstance(value, bool):
        return [not value, value]
    if isinstance(value, int):
        return [number, 20_000 + number, value]
    return [number / 1000, 1 + number / 1000, value]


def _may_be(section: BaseModel, name: str, value: Any) -> bool:
    try:
        type(section).model_validate(section.model_dump() | {name: value})
    except ValidationError:
        return False
    return True


class Wires:
    """Stand-ins for functions and classes, and what they were called with.

    A call is kept by the names of the parameters, so that it does not matter how it was written. What was
    left out, or is as its default, is left out; so is `progress`.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self.calls: list[tuple[str, dict[str, Any]]] = []

    def cut(self, place: Any, name: str, gives: Any = None) -> None:
        """Put a stand-in where `place` has the name; it returns `gives`, or `gives(**arguments)`."""
        signature = inspect.signature(getattr(place, name))

        def stand_in(*args: Any, **kwargs: Any) -> Any:
            given = dict(signature.bind(*args, **kwargs).arguments)
            said = {key: value for key, value in given.items() if not _is_default(signature, key, value)}
            self.calls.append((name, said))
            return gives(**given) if callable(gives) else gives

        stand_in.__signature__ = signature  # it may be replaced by another
        self._patch.setattr(place, name, stand_in)

    def of(self, name: str) -> list[dict[str, Any]]:
        """The arguments of each call of a stand-in."""
        return [given for called, given in self.calls if called == name]

    def once(self, name: str) -> dict[str, Any]:
        """The arguments of its only call."""
        (given,) = self.of(name)
        return given


def _is_default(signature: inspect.Signature, name: str, value: Any) -> bool:
    default = signature.parameters[name].default
    simple = value is None or isinstance(value, bool | int | float | str | tuple)
    return name == "progress" or (simple and type(value) is type(default) and value == default)
