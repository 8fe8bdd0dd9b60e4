"""What the settings of an RL run come to: defaults as the values that an algorithm gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1reward.algo.losses import default_pre_clip
from r1reward.settings import RLSettings
from r1reward.train.formulas import OWN
from r1reward.train.learner import Learner

DEFAULT_LIMIT = 3.0


def pre_clip_bound(settings: RLSettings) -> float | None:
    """The bound of the ratio before the exponential; None where there is none."""
    if settings.pre_clip == "default":
        return default_pre_clip(settings.algorithm)
    return None if settings.pre_clip == "off" else settings.pre_clip


def advantage_limit(settings: RLSettings) -> float | None:
    """Standardised advantages beyond this are set to 0; None where nothing is filtered."""
    if settings.advantage_limit == "default":
        return DEFAULT_LIMIT if settings.algorithm == "stable_reinforce" else None
    return None if settings.advantage_limit == "off" else settings.advantage_limit


def used(learner: Learner, num_items: int, left_out: Mapping[str, int]) -> dict[str, Any]:
    """What a run was made with, for its record: defaults as values, "off" where a part is off.

    `left_out` are the faulty rows of its file by their reasons; the record has them if there are any.
    """
    settings, own = learner.settings, learner.formulas.described
    bound, limit = pre_clip_bound(settings), advantage_limit(settings)
    return {
        "algorithm": settings.algorithm,
        "pre_clip": OWN if "ratio" in own else "off" if bound is None else bound,
        "advantage_limit": OWN if "advantages" in own else "off" if limit is None else limit,
        **learner.task.used(),
        "items": num_items,
        "seed": learner.seed,
        **({"left_out": dict(left_out)} if left_out else {}),
        **({"formulas": own} if own else {}),
    }
