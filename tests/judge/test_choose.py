"""Which consistency judge a name of Table 13 stands for."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from r1reward.config import load_profile
from r1reward.judge import consistency_judges
from r1reward.judge.consistency_judges import JudgeName, ServerConsistencyJudge, make_consistency_judge
from r1reward.types import Verdict

PROFILE = load_profile("smoke")
TEXTS = [f"thing {index} ." for index in range(4000)]
VERDICTS = [Verdict.FIRST] * len(TEXTS)


class Trained:
    """In place of a trained judge: agrees if it is the strong one."""

    def __init__(self, checkpoint: Path) -> None:
        self.checkpoint = checkpoint

    @property
    def fingerprint(self) -> str:
        return str(self.checkpoint)

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        return [self.checkpoint.parent.name == "strong"] * len(reasonings)


@pytest.fixture(autouse=True)
def trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consistency_judges, "ModelConsistencyJudge", Trained)


@pytest.mark.parametrize("name", ["strong", "weak"])
def test_strong_and_weak_judge_have_their_own_folders(name: JudgeName, tmp_path: Path) -> None:
    judge = make_consistency_judge(PROFILE, name, tmp_path, seed=0)
    assert judge.fingerprint == str(tmp_path / name / "model")


def test_the_noisy_judge_is_the_strong_one_with_a_quarter_turned_round(tmp_path: Path) -> None:
    noisy = make_consistency_judge(PROFILE, "noisy", tmp_path, seed=0)
    opinions = noisy.judge(TEXTS, VERDICTS)
    assert opinions.count(False) / len(TEXTS) == pytest.approx(0.25, abs=0.03)
    assert str(tmp_path / "strong" / "model") in noisy.fingerprint
    other = make_consistency_judge(PROFILE, "noisy", tmp_path, seed=1)
    assert other.judge(TEXTS, VERDICTS) != opinions and other.fingerprint != noisy.fingerprint


def test_the_random_judge_is_a_coin_of_its_seed(tmp_path: Path) -> None:
    coins = [make_consistency_judge(PROFILE, "random", tmp_path, seed=seed) for seed in (0, 1)]
    tossed = [coin.judge(TEXTS, VERDICTS) for coin in coins]
    assert all(one.count(True) / len(TEXTS) == pytest.approx(0.5, abs=0.03) for one in tossed)
    assert tossed[0] != tossed[1] and coins[0].fingerprint != coins[1].fingerprint


def test_behind_servers_each_judge_is_its_own_model(tmp_path: Path) -> None:
    servers = {"server": {"model": "large"}, "weak_server": {"model": "small"}}
    profile = load_profile("smoke", overrides={"judges": {"name": "server", **servers}})
    asked = {}
    for name in ("strong", "weak"):
        judge = make_consistency_judge(profile, name, tmp_path, seed=0)
        assert isinstance(judge, ServerConsistencyJudge)
        asked[name] = judge.settings.model
    assert asked == {"strong": "large", "weak": "small"}
    assert "'large'" in make_consistency_judge(profile, "noisy", tmp_path, seed=0).fingerprint


@pytest.mark.parametrize(
    ("name", "section"), [("strong", "server"), ("weak", "weak_server"), ("noisy", "server")]
)
def test_opinions_of_a_server_are_kept_in_the_folder_that_is_named(
    name: JudgeName, section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The noisy judge's, too: what stands behind it is the server of the strong one."""
    made: list[tuple[object, dict[str, object]]] = []
    monkeypatch.setattr(
        consistency_judges, "ServerConsistencyJudge", lambda settings, **how: made.append((settings, how))
    )
    profile = load_profile("smoke", overrides={"judges": {"name": "server"}})
    make_consistency_judge(profile, name, tmp_path, seed=3, cache=tmp_path / "kept")
    expected = {"folder": tmp_path / "kept", "section": f"judges.{section}"}
    assert made == [(getattr(profile.judges, section), expected)]
