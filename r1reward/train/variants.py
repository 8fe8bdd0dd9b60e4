"""The runs behind the paper's ablations: what each changes, and when it cannot differ from the reference.

Nothing but the named setting differs between variants; no setting is tuned for one of them. A variant that
only loosens or tightens Pre-CLIP and the advantage filter takes the very same steps as the reference of
its seed as long as neither acts; it is then identical by construction and need not be run again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from r1reward.algo.ratio import log_bound
from r1reward.judge.choose import JudgeName
from r1reward.settings import RLSettings
from r1reward.train.resolved import advantage_limit, pre_clip_bound

REFERENCE = "stable_reinforce"
# Runs that a variant may turn out to repeat.
REFERENCES = (REFERENCE, "reinforce_pp")
# The surrogate of these is the same; what they put into it differs only by the stabilisers.
_ONE_SURROGATE = ("stable_reinforce", "reinforce_pp", "ppo")
SWEEP: tuple[tuple[JudgeName, float], ...] = (
    ("weak", 0.1),
    ("weak", 1.0),
    ("noisy", 0.1),
    ("noisy", 0.5),
    ("noisy", 1.0),
    ("random", 0.1),
    ("random", 1.0),
)


@dataclass(frozen=True, slots=True)
class Variant:
    """One row of an ablation: changes to the profile's RL settings, and the consistency judge.

    `tables` are the paper's tables it belongs to; `core` variants run without `make grid`. `start` is the
    checkpoint it starts from and `pairs` what it trains on: the paper's subset of difficult pairs, or as
    many that the annotator got right at once.
    """

    name: str
    tables: tuple[int, ...]
    changes: Mapping[str, Any] = field(default_factory=dict)
    judge: JudgeName = "strong"
    core: bool = True
    start: Literal["sft", "base"] = "sft"
    pairs: Literal["hard", "easy"] = "hard"

    def settings(self, base: RLSettings) -> RLSettings:
        """The RL settings of this variant; an unknown or bad setting is a ValueError."""
        return RLSettings.model_validate(base.model_dump() | dict(self.changes))


VARIANTS = (
    Variant(REFERENCE, (5, 6, 7, 13)),
    Variant("reinforce_pp", (5,), {"algorithm": "reinforce_pp"}),
    # Sections 1 and 3.1 count the consistency reward among StableReinforce's own parts.
    Variant("reinforce_pp_plain", (5,), {"algorithm": "reinforce_pp", "consistency_weight": 0.0}),
    Variant("wo_filter", (5,), {"advantage_limit": "off"}),
    Variant("wo_pre_clip", (5, 6), {"pre_clip": "off"}),
    # Table 6 prints bounds of "5.00" and "100" beside a default of log 1e3: read as |log ratio| <= b ...
    Variant("log_bound_5", (6,), {"pre_clip": math.exp(5)}),
    Variant("log_bound_100", (6,), {"pre_clip": math.exp(100)}),
    # ... and as ratio <= b.
    Variant("ratio_bound_5", (6,), {"pre_clip": 5.0}, core=False),
    Variant("ratio_bound_100", (6,), {"pre_clip": 100.0}, core=False),
    Variant("weight_1.0", (7,), {"consistency_weight": 1.0}),
    Variant("weight_0.1", (7,), {"consistency_weight": 0.1}),
    Variant("external", (7,), {"external_consistency": True}),
    Variant("weight_0.0", (7, 13), {"consistency_weight": 0.0}),
    Variant("judge_weak", (13,), judge="weak"),
    Variant("judge_noisy", (13,), {"consistency_weight": 0.25}, judge="noisy"),
    Variant("judge_random", (13,), judge="random"),
    Variant("reinforce", (5,), {"algorithm": "reinforce"}, core=False),
    Variant("ppo", (5,), {"algorithm": "ppo"}, core=False),
    Variant(
        "grpo",
        (5,),
        {"algorithm": "grpo", "samples_per_prompt": 8, "rollout_batch_size": 32},
        core=False,
    ),
    Variant("no_cold_start", (), start="base", core=False),
    Variant("easy_pairs", (), pairs="easy", core=False),
    # Table 13 prints each judge at its best weight: the other weights.
    *(
        Variant(f"judge_{judge}_{weight}", (), {"consistency_weight": weight}, judge=judge, core=False)
        for judge, weight in SWEEP
    ),
)


def find_variant(name: str) -> Variant:
    """The variant of that name, or a ValueError that lists all."""
    for variant in VARIANTS:
        if variant.name == name:
            return variant
    raise ValueError(f"no variant is called {name!r}; there are {', '.join(v.name for v in VARIANTS)}")


def interventions(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How often the parts of StableReinforce acted in a run, from its rows of metrics.

    `pre_clip_steps` and `filter_steps` count steps with any hit; `log_ratio_max` and `z_abs_max` are the
    largest values of the run before any clipping.
    """
    hits = [sum(row[key] for key in row if key.startswith("pre_clip_")) for row in rows]
    filtered = [row["filtered_positive"] + row["filtered_negative"] for row in rows]
    return {
        "steps": len(rows),
        "pre_clip_steps": sum(share > 0 for share in hits),
        "filter_steps": sum(share > 0 for share in filtered),
        "log_ratio_max": max((row["log_ratio_max"] for row in rows), default=0.0),
        "z_abs_max": max((max(-row["z_min"], row["z_max"]) for row in rows), default=0.0),
    }


def is_identical(
    variant: Variant, base: RLSettings, rows: Sequence[Mapping[str, float]], *, reference: str = REFERENCE
) -> bool:
    """Whether this variant would repeat, step by step, the run of `reference` with these rows of metrics.

    `base` are the RL settings of the profile; `reference` is one of REFERENCES.
    """
    settings, known = variant.settings(base), find_variant(reference).settings(base)
    stabilisers = {"algorithm", "pre_clip", "advantage_limit"}
    others = settings.model_dump(exclude=stabilisers) != known.model_dump(exclude=stabilisers)
    elsewhere = (variant.judge, variant.start, variant.pairs) != ("strong", "sft", "hard")
    if others or elsewhere or settings.algorithm not in _ONE_SURROGATE:
        return False
    seen = interventions(rows)
    bounds = [_log_bound(settings), _log_bound(known)]
    limits = [_limit(settings), _limit(known)]
    same_ratio = bounds[0] == bounds[1] or seen["log_ratio_max"] < min(bounds)
    same_advantages = limits[0] == limits[1] or seen["z_abs_max"] <= min(limits)
    return same_ratio and same_advantages


def _log_bound(settings: RLSettings) -> float:
    bound = pre_clip_bound(settings)
    return math.inf if bound is None else log_bound(bound)


def _limit(settings: RLSettings) -> float:
    limit = advantage_limit(settings)
    return math.inf if limit is None else limit
