import inspect
import tomllib

import pytest
import torch

from r1reward.config import PROFILE_FOLDER
from r1reward.report.paper import paper_table, paper_values
from r1reward.settings import Profile

SETTINGS = {value.setting: value for value in paper_values().values() if value.setting}


@pytest.fixture(scope="module")
def profile() -> Profile:
    return Profile.model_validate(tomllib.loads((PROFILE_FOLDER / "paper.toml").read_text(encoding="utf-8")))


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_a_setting_is_the_paper_s(profile: Profile, setting: str) -> None:
    value = profile
    for name in setting.split("."):
        value = getattr(value, name)
    assert value == SETTINGS[setting].value


@pytest.mark.parametrize("setting", sorted(SETTINGS))
def test_a_setting_is_written_out_and_not_left_to_a_default(setting: str) -> None:
    written = tomllib.loads((PROFILE_FOLDER / "paper.toml").read_text(encoding="utf-8"))
    for name in setting.split("."):
        assert name in written
        written = written[name]


def test_every_setting_shows_a_quote_or_says_not_printed() -> None:
    lines = (PROFILE_FOLDER / "paper.toml").read_text(encoding="utf-8").splitlines()
    settings = [line for line in lines if " = " in line and not line.startswith(("name", "sentence", "#"))]
    quotes = " ".join(value.quote for value in paper_values().values())
    unexplained = [
        line
        for line in settings
        if "not printed" not in line and not _quoted(line.partition("# ")[2], quotes)
    ]
    assert settings
    assert [line.split(" = ")[0] for line in unexplained] == ["algorithm", "external_consistency"]


def _quoted(comment: str, quotes: str) -> bool:
    pieces = comment.split('"')[1::2]
    return bool(pieces) and all(piece in quotes for piece in pieces)


def test_numbers_of_the_algorithm_are_the_defaults_of_stable_reinforce(profile: Profile) -> None:
    algo = pytest.importorskip("r1reward.algo", reason="torch is not installed")
    values = paper_values()
    assert (profile.rl.pre_clip, profile.rl.advantage_limit) == ("default", "default")
    assert inspect.signature(algo.policy_ratio).parameters["pre_clip"].default == values["pre_clip"].value
    assert (
        inspect.signature(algo.filter_advantages).parameters["limit"].default
        == values["advantage_limit"].value
    )
    assert (
        inspect.signature(algo.final_reward).parameters["weight"].default
        == values["consistency_weight"].value
    )
    zero = torch.tensor(0.0)
    assert float(algo.final_reward(zero, zero, formatting=zero + 1)) == values["formatting_weight"].value


def test_clip_range_is_inside_what_the_paper_calls_typical(profile: Profile) -> None:
    low, high = paper_values()["clip_eps_range"].value
    assert low <= profile.rl.clip_eps <= high


def test_two_updates_a_rollout(profile: Profile) -> None:
    assert profile.rl.rollout_batch_size == 2 * profile.rl.train_batch_size


def test_settings_agree_with_the_ablation_tables(profile: Profile) -> None:
    weights = paper_table(7).set_index("consistency_weight")["overall_acc"].drop("external").astype(float)
    assert float(weights.idxmax()) == profile.rl.consistency_weight
