"""Formulas that a caller brings are used, stand in the record, and make another run of it."""

import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
import torch
from helpers import ENGINE, MODEL, RL, World, score_by_tokens, without_time
from torch import Tensor

from r1reward.algo import standardize_advantages
from r1reward.config import load_profile
from r1reward.engines.loading import weights_hash
from r1reward.files import read_json, read_jsonl
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.parallel import side_by_side
from r1reward.settings import RLSettings
from r1reward.train import rl
from r1reward.train.tasks import PAPER, Answers, Formulas, JudgeTask, score_votes
from r1reward.types import Completion, PreferencePair, Verdict, Vote

SIGMAS = 1.0


def narrow(values: Tensor) -> Tensor:
    z = standardize_advantages(values)
    return torch.where(z.abs() > SIGMAS, torch.zeros_like(z), z)


def shorter(answers: Answers) -> Tensor:
    return answers.result + 0.25 * answers.consistency - 0.01 * answers.length


def timid(log_probs: Tensor, old_log_probs: Tensor) -> Tensor:
    return torch.exp((log_probs - old_log_probs).clamp(-1e-4, 1e-4))


def of_the_notebook(repository: Path, settings: RLSettings) -> Formulas:
    """The formulas in the cells of notebook 03 as they stand there."""
    cells = nbformat.read(repository / "notebooks/03_stable_reinforce.ipynb", as_version=4).cells
    wanted = [
        cell.source for cell in cells if re.search(r"^def (reward|advantages|ratio)\(", cell.source, re.M)
    ]
    place: dict[str, Any] = {"run": SimpleNamespace(profile=SimpleNamespace(rl=settings))}
    for source in wanted:
        exec(compile(source, "<cell>", "exec"), place)
    found = Formulas()
    for name in ("reward", "advantages", "ratio"):
        object.__setattr__(found, name, place[name])
    return found


@pytest.fixture
def train(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Trains for two steps in a folder and returns it; an untrained model can earn the reward."""
    monkeypatch.setattr(JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))

    def run(name: str, formulas: Formulas = PAPER) -> Path:
        settings = RL.model_copy(update={"max_steps": 2, "inner_epochs": 2, "learning_rate": 1e-3})
        where = {"settings": settings, "model_settings": MODEL, "engine_settings": ENGINE}
        rl.train_rl(world.model, world.pairs, out=tmp_path / name, seed=0, formulas=formulas, **where)
        return tmp_path / name

    return run


def metrics(out: Path) -> list[dict[str, float]]:
    return without_time(read_jsonl(out / "metrics.jsonl"))


def test_the_cells_of_the_notebook_train_to_the_packages_weights(
    train: Callable[..., Path], repository: Path
) -> None:
    package, cells = train("package"), train("cells", of_the_notebook(repository, RL))
    assert weights_hash(package / "model") == weights_hash(cells / "model")
    assert metrics(package) == metrics(cells)


@pytest.mark.parametrize("part", [{"advantages": narrow}, {"ratio": timid}], ids=["advantages", "ratio"])
def test_a_formula_acts_and_stands_in_the_record(
    train: Callable[..., Path], part: dict[str, Callable[..., Tensor]]
) -> None:
    usual, other = train("usual"), train("other", Formulas(**part))
    assert weights_hash(usual / "model") != weights_hash(other / "model")
    assert "formulas" not in read_json(usual / "status.json")["used"]
    [(name, function)], used = part.items(), read_json(other / "status.json")["used"]
    [(shown, described)] = used["formulas"].items()
    assert name == shown
    assert used[{"advantages": "advantage_limit", "ratio": "pre_clip"}[name]] == "own formula"
    assert f"def {function.__name__}" in described["source"]
    assert described["values"]["torch"] == "torch"


def test_a_reward_reaches_the_rollout(world: World, tmp_path: Path) -> None:
    """An untrained model earns nothing but what its length costs, under a rule that pays for nothing else."""
    settings = RL.model_copy(update={"max_steps": 1})
    rl.train_rl(
        world.model,
        world.pairs,
        out=tmp_path,
        settings=settings,
        model_settings=MODEL,
        engine_settings=ENGINE,
        seed=0,
        formulas=Formulas(reward=lambda answers: -answers.length),
    )
    [row] = read_jsonl(tmp_path / "metrics.jsonl")
    assert row["reward"] == pytest.approx(-row["response_length"]) and row["reward"] < 0
    assert read_json(tmp_path / "status.json")["used"]["consistency_weight"] == "own formula"


def test_what_a_filter_took_out_is_counted_whoever_brought_it(train: Callable[..., Path]) -> None:
    rows = metrics(train("narrow", Formulas(advantages=narrow)))
    assert any(row["filtered_positive"] + row["filtered_negative"] > 0 for row in rows)
    assert all(row["filtered_positive"] + row["filtered_negative"] == 0 for row in metrics(train("usual")))


def test_another_formula_and_another_value_are_another_run(
    train: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = weights_hash(train("run", Formulas(advantages=narrow)) / "model")
    assert weights_hash(train("run", Formulas(advantages=narrow)) / "model") == first
    monkeypatch.setitem(globals(), "SIGMAS", 0.5)
    assert Formulas(advantages=narrow).described["advantages"]["values"]["SIGMAS"] == 0.5
    assert weights_hash(train("run", Formulas(advantages=narrow)) / "model") != first


def votes() -> tuple[list[PreferencePair], list[tuple[Vote, ...]]]:
    pairs = [PreferencePair(str(n), "povid", "which ?", ("a", "b"), 1) for n in range(2)]
    said = "response 1 is better"
    right = Vote(Verdict.FIRST, said, Completion(said, (1, 2, 3), (0.0,) * 3, "stop"))
    wrong = Vote(Verdict.SECOND, said, Completion(said, (1,), (0.0,), "stop"))
    return pairs, [(right,), (wrong,)]


def test_a_reward_sees_every_answer_with_its_length() -> None:
    pairs, given = votes()
    scored = score_votes(
        pairs, given, judge=ScriptedConsistencyJudge(), settings=RLSettings(), reward=shorter
    )
    assert [one.reward for one in scored] == pytest.approx([1.25 - 0.03, -0.01])


def test_the_notebooks_reward_is_the_papers(repository: Path) -> None:
    pairs, given = votes()
    rewards = [
        [one.reward for one in score_votes(
            pairs, given, judge=ScriptedConsistencyJudge(), settings=RLSettings(), reward=reward
        )]
        for reward in (None, of_the_notebook(repository, RLSettings()).reward)
    ]  # fmt: skip
    assert rewards[0] == rewards[1] == [1.5, 0.0]


@pytest.mark.parametrize(
    ("reward", "fault"),
    [
        (lambda answers: answers.result[:1], r"shape \(2,\), got \(1,\)"),
        (lambda answers: answers.result / 0, "not finite"),
        (lambda answers: 1.0, "got float"),
    ],
)
def test_a_formula_that_returns_something_else_is_named(reward: Callable[..., Any], fault: str) -> None:
    pairs, given = votes()
    with pytest.raises(ValueError, match=f"formula reward .*{fault}"):
        score_votes(pairs, given, judge=ScriptedConsistencyJudge(), settings=RLSettings(), reward=reward)


def test_a_function_without_source_is_refused() -> None:
    with pytest.raises(ValueError, match="ratio: define it with def"):
        Formulas(ratio=eval("lambda new, old: new"))


def test_a_function_of_a_notebook_reaches_another_process() -> None:
    place: dict[str, Any] = {"__name__": "__main__"}
    exec("FACTOR = 3\ndef times(value=2): return FACTOR * value", place)
    assert side_by_side({"a": place["times"], "b": place["times"]}, processes=2) == {"a": 6, "b": 6}


def test_the_profile_of_the_paper_has_the_papers_formulas(repository: Path) -> None:
    found = of_the_notebook(repository, load_profile("paper").rl)
    assert found.ratio and found.advantages
    far = torch.tensor([[9.0, -9.0, 0.5]])
    assert found.ratio(far, torch.zeros(1, 3)).tolist()[0] == pytest.approx([1e3, 1e-3, 1.6487], rel=1e-3)
    assert found.advantages(torch.tensor([0.0] + [1.0] * 255)).count_nonzero() == 255
