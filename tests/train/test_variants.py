import math

import pytest

from r1reward.algo.ratio import log_bound
from r1reward.settings import RLSettings
from r1reward.train.grid import REFERENCE, VARIANTS, interventions, is_identical

BASE = RLSettings()


def row(**values: float) -> dict[str, float]:
    quiet = {
        "filtered_positive": 0.0,
        "filtered_negative": 0.0,
        "log_ratio_max": 0.1,
        "z_min": -1.0,
        "z_max": 1.0,
    }
    return quiet | {"pre_clip_high_positive": 0.0, "pre_clip_low_negative": 0.0} | values


def identical(rows: list[dict[str, float]], reference: str = REFERENCE) -> set[str]:
    return {
        variant.name
        for variant in VARIANTS.values()
        if is_identical(variant, BASE, rows, reference=reference)
    }


def test_every_variant_makes_valid_settings_and_changes_something():
    for variant in list(VARIANTS.values())[1:]:
        elsewhere = (variant.judge, variant.start, variant.pairs) != ("strong", "sft", "hard")
        assert variant.settings(BASE) != BASE or elsewhere


def test_the_two_readings_of_table_6():
    bounds = {v.name: log_bound(v.settings(BASE).pre_clip) for v in VARIANTS.values() if "bound" in v.name}
    assert bounds == pytest.approx(
        {
            "log_bound_5": 5,
            "log_bound_100": 100,
            "ratio_bound_5": math.log(5),
            "ratio_bound_100": math.log(100),
        }
    )


def test_nothing_acted_then_the_stabilisers_make_no_difference():
    assert identical([row()]) == {
        *("stable_reinforce", "reinforce_pp", "wo_filter", "wo_pre_clip", "ppo"),
        *("log_bound_5", "log_bound_100", "ratio_bound_5", "ratio_bound_100"),
    }


def test_a_filtered_advantage_tells_filter_variants_apart():
    seen = identical([row(), row(z_min=-3.2, filtered_negative=0.1)])
    assert {"wo_pre_clip", "log_bound_5"} <= seen
    assert not {"wo_filter", "reinforce_pp"} & seen


def test_a_large_ratio_tells_the_bounds_below_it_apart():
    seen = identical([row(log_ratio_max=4.8)])
    assert {"wo_pre_clip", "log_bound_5", "log_bound_100", "reinforce_pp"} <= seen
    assert not {"ratio_bound_5", "ratio_bound_100"} & seen
    assert "wo_pre_clip" not in identical([row(log_ratio_max=7.0)])


def test_what_differs_from_reinforce_pp_by_a_bound_that_is_not_met_repeats_it():
    filtered = row(z_min=-3.2)
    assert identical([filtered], "reinforce_pp") == {"reinforce_pp", "ppo", "wo_filter"}
    assert "wo_filter" not in identical([row(z_min=-3.2, log_ratio_max=7.0)], "reinforce_pp")


def test_interventions_count_steps():
    rows = [row(), row(pre_clip_high_positive=0.01, log_ratio_max=9.0), row(filtered_positive=0.1, z_max=3.5)]
    assert interventions(rows) == {
        "steps": 3,
        "pre_clip_steps": 1,
        "filter_steps": 1,
        "log_ratio_max": 9.0,
        "z_abs_max": 3.5,
    }


def test_reinforce_pp_without_the_consistency_reward_differs_from_it_by_that_alone():
    plain, known = (VARIANTS[name].settings(BASE) for name in ("reinforce_pp_plain", "reinforce_pp"))
    assert plain == known.model_copy(update={"consistency_weight": 0.0})
    assert not is_identical(VARIANTS["reinforce_pp_plain"], BASE, [row()], reference="reinforce_pp")
