"""Every setting of a profile changes something that really runs: setting -> smallest real step -> effect.

The effects stand in the modules beside this one. A setting that a test elsewhere follows to its effect is
named with that test. Where several sections have the same settings (`downstream.rl` has those of `rl`), it is
shown that the section arrives whole where it is used.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import engine_effects  # noqa: F401
import other_effects
import pytest
import rl_effects  # noqa: F401
import sft_effects  # noqa: F401
from pydantic import BaseModel
from studio import EFFECTS, Effect, Studio, watch_collator, watch_engine

from r1reward.settings import Profile
from r1reward.train import rl

TESTS = Path(__file__).parent.parent
SMOKE = "test_notebooks.py::test_the_records_of_the_smoke_run_are_what_the_profile_asks_for"
# Followed to their effect by another test, which has to name the setting.
ELSEWHERE = {
    "world.pairs_per_source": "mini/test_world.py::test_sources_are_read_by_the_real_loaders",
    "world.label_noise": "mini/test_world.py::test_so_many_labels_are_wrong",
    **dict.fromkeys(
        (
            *("data.script.undercounting", "data.script.forgotten_carries", "data.script.agreeing"),
            *("data.script.look_alikes", "data.script.laziness", "data.script.misreading"),
        ),
        "mini/test_annotator.py::test_what_is_wrong_once_is_wrong_again",
    ),
    "data.script.intuition": "mini/test_annotator.py::"
    "test_intuition_gives_the_right_verdict_where_a_rule_misled_the_reasoning",
    "data.script.verbosity": "mini/test_annotator.py::test_the_longer_of_equals_is_better_for_the_verbose",
    "data.script.lapses": "mini/test_annotator.py::test_lapses_differ_by_attempt",
    "data.script.slips": "mini/test_annotator.py::test_slips_contradict_the_reasoning_and_differ_by_attempt",
    "data.script.corrections": "mini/test_annotator.py::test_corrections_are_aloud_and_end_right",
    "data.script.checks": "mini/test_annotator.py::test_checks_make_answers_longer_and_change_no_verdict",
    "downstream.right_answers": "downstream/test_policy.py::test_only_prompts_within_reach_are_trained_on",
    "downstream.harness": "downstream/test_vlmevalkit.py::test_missing_results_stop_with_the_commands",
    **dict.fromkeys(
        (
            *("name", "seeds", "world.benchmark_pairs", "world.multimodal_pairs", "world.mm_rlhf_pairs"),
            *("world.validation_pairs", "data.sampled_pairs", "data.overlap"),
            *("data.max_attempts", "bench.perception_cases", "bench.steered_pairs"),
            *("rating.items", "rating.raters", "downstream.root", "downstream.lessons"),
            *("downstream.questions", "downstream.draws"),
        ),
        SMOKE,
    ),
}
# Sections of the same settings, and what shows that they arrive.
ARRIVES: dict[str, tuple[str, Effect]] = {
    "downstream.rl": ("rl", other_effects.a_policy_is_trained_on_so_many_prompts_by_such_a_judge),
    "downstream.sft": ("sft", other_effects.the_mini_policy_keeps_these_layers),
}
FUNCTIONS = list(dict.fromkeys(EFFECTS.values()))


def leaves(model: type[BaseModel], before: str = "") -> Iterator[str]:
    """Dotted names of all settings."""
    for name, field in model.model_fields.items():
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, f"{before}{name}.")
        else:
            yield f"{before}{name}"


SETTINGS = sorted(leaves(Profile))


def test_every_setting_stands_in_the_table_and_nothing_else_does() -> None:
    shared = [name for name in SETTINGS if _shared(name)]
    assert sorted([*EFFECTS, *ELSEWHERE, *shared]) == SETTINGS
    assert {_shared(name) for name in shared} <= {*EFFECTS}


def _shared(setting: str) -> str:
    """The setting whose effect shows that of one in a section of the same settings, or ""."""
    section, _, name = setting.rpartition(".")
    return f"{ARRIVES[section][0]}.{name}" if section in ARRIVES else ""


@pytest.mark.parametrize("effect", FUNCTIONS, ids=[function.__name__ for function in FUNCTIONS])
def test_effect(effect: Effect, tiny_studio: Studio) -> None:
    effect(tiny_studio)


def test_a_seed_has_its_own_prompts_answers_and_order_of_examples(tiny_studio: Studio) -> None:
    asked, seen = [], []
    for seed in (31, 32):
        with watch_engine() as calls:
            tiny_studio.rl(seed=seed)
        asked.append(({one.text for one in calls[0].requests}, [c for (c,) in calls[0].completions]))
        with watch_collator() as parts:
            tiny_studio.sft(seed=seed)
        seen.append([text for part in parts for text in part])
    assert asked[0][0] != asked[1][0] and asked[0][1] != asked[1][1]
    assert seen[0] != seen[1] and sorted(seen[0]) == sorted(seen[1])
    learner, pairs = tiny_studio.learner(), tiny_studio.pairs()[:4]
    other = tiny_studio.learner(seed=2)
    answers = [[c.token_ids for (c,) in rl.rollout(one, pairs, 1)] for one in (learner, other)]
    assert answers[0] != answers[1], "the same prompts, other answers"


@pytest.mark.parametrize("setting", sorted(ELSEWHERE))
def test_what_shows_the_effect_elsewhere_is_there_and_names_the_setting(setting: str) -> None:
    file, _, name = ELSEWHERE[setting].partition("::")
    found = _tests(TESTS / file)
    assert name in found, f"{setting}: {file} has no test {name}"
    marks = [ast.unparse(one) for one in found[name].decorator_list]
    assert not any(mark in text for text in marks for mark in ("full", "cluster")), "left out by default"
    assert setting.rpartition(".")[2] in _words(TESTS / file), f"{file} does not name {setting}"


@cache
def _tests(path: Path) -> dict[str, ast.FunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


def _words(path: Path) -> str:
    """The text of a test file and of the module of checks beside it that it imports."""
    text = path.read_text(encoding="utf-8")
    beside = path.with_name("chain.py")
    return text + beside.read_text(encoding="utf-8") if "import chain" in text else text
