"""Real faults in the middle of an RL run: its judge is killed, a number is not one."""

import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import ENGINE, MODEL, RL, World, score_by_tokens
from safetensors.torch import load_file

from r1reward.engines.loading import load_model
from r1reward.engines.log_probs import PolicyOutput
from r1reward.files import read_json, read_jsonl
from r1reward.judge.consistency_judges import ServerConsistencyJudge
from r1reward.settings import JudgeServerSettings
from r1reward.train import monitor, rl, tasks
from r1reward.types import Verdict

SERVER = Path(__file__).parent / "judge_server.py"


class JudgeProcess:
    """The judge's server as a process that can be killed and started again at the same address."""

    def __init__(self) -> None:
        self.port = 0
        self.start()

    def start(self) -> None:
        command = [sys.executable, str(SERVER), str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()


@pytest.fixture
def process() -> Iterator[JudgeProcess]:
    running = JudgeProcess()
    yield running
    running.kill()


class Fateful(ServerConsistencyJudge):
    """Before the call of a number in `events` its server is killed, or started again."""

    def __init__(self, process: JudgeProcess, folder: Path, events: dict[int, str]) -> None:
        settings = JudgeServerSettings(base_url=f"http://127.0.0.1:{process.port}/v1", max_retries=2)
        super().__init__(settings, folder=folder, sleep=lambda seconds: None)
        self.process, self.events, self.calls = process, events, 0

    def judge(self, reasonings: Sequence[str], verdicts: Sequence[Verdict]) -> list[bool | None]:
        self.calls += 1
        if event := self.events.get(self.calls):
            getattr(self.process, event)()
        return super().judge(reasonings, verdicts)


@pytest.fixture
def loud_reasoning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever an untrained model writes is its reasoning, so that every answer is a question of its own.

    It never ends an answer, which is no collapse here.
    """
    monkeypatch.setattr(monitor, "MAX_TRUNCATED_SHARE", 1.0)
    read = tasks.read_vote
    monkeypatch.setattr(tasks, "read_vote", lambda one: replace(read(one), reasoning=one.text))


def train(world: World, out: Path, **options: Any) -> rl.RLResult:
    changes = {"epochs": 3, "external_consistency": True, "consistency_weight": 1.0, "collapse_patience": 5}
    return rl.train_rl(
        world.model,
        world.pairs,
        out=out,
        settings=RL.model_copy(update=changes),
        model_settings=MODEL,
        engine_settings=ENGINE,
        seed=1,
        **options,
    )


@pytest.mark.usefixtures("loud_reasoning")
def test_a_run_goes_on_when_its_judge_is_killed(world: World, tmp_path: Path, process: JudgeProcess) -> None:
    judge = Fateful(process, tmp_path / "judge", {3: "kill", 5: "start"})
    result = train(world, tmp_path, judge=judge)
    assert (result.status, result.steps) == ("finished", 6)
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert [row["step"] for row in rows] == [1, 2, 3, 4, 5, 6]
    unknown = [row["judge_unknown"] for row in rows]
    assert unknown[:2] == unknown[4:] == [0, 0] and min(unknown[2:4]) > 0
    for row in rows[2:4]:
        assert row["reward_consistency"] <= 1 - row["judge_unknown"] / RL.rollout_batch_size
    record = judge.record()
    assert (record["unanswered"], record["outages"]) == (sum(unknown), 1)
    assert set(record["faults"]) == {"connection"}
    opinions = read_jsonl(tmp_path / "judge/opinions.jsonl")
    assert len(opinions) == record["answers"] >= 20
    assert {row["opinion"] for row in opinions} == {True, False}


@pytest.mark.usefixtures("loud_reasoning")
def test_a_judge_that_stays_away_ends_no_run(world: World, tmp_path: Path, process: JudgeProcess) -> None:
    """The reward is far below the first one for five steps, for which a run would end otherwise."""
    result = train(world, tmp_path, judge=Fateful(process, tmp_path / "judge", {2: "kill"}))
    assert result.status == "finished"
    rows = read_jsonl(tmp_path / "metrics.jsonl")
    assert [row["judge_unknown"] > 0 for row in rows] == [False] + [True] * 5
    assert all(row["reward"] < rows[0]["reward"] - monitor.MAX_REWARD_DROP for row in rows[1:])


def test_a_nan_in_one_micro_batch_leaves_its_evidence_and_the_model_before(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward, seen = rl.policy_forward, []

    def spoiled(model: Any, batch: Any, **others: Any) -> PolicyOutput:
        output = forward(model, batch, **others)
        if torch.is_grad_enabled():
            seen.append({name: value.detach().clone() for name, value in model.state_dict().items()})
        if len(seen) != 8:  # the fourth micro-batch of the second step, after one of its updates
            return output
        bad = output.log_probs.clone()
        bad[0, 0] = torch.nan
        return PolicyOutput(bad, output.entropy)

    monkeypatch.setattr(rl, "policy_forward", spoiled)
    monkeypatch.setattr(rl.JudgeTask, "score", lambda self, *asked: score_by_tokens(*asked))
    result = train(world, tmp_path)
    assert (result.status, result.steps, result.reason) == ("collapsed", 2, "the loss is not finite")
    status = read_json(tmp_path / "status.json")
    assert (status["status"], status["step"], status["reason"]) == ("collapsed", 2, result.reason)
    evidence = read_json(tmp_path / "collapse/step_2.json")
    assert evidence["tensors"]["log_probs"]["not_finite"] == 1
    tensors = load_file(tmp_path / "collapse/step_2.safetensors")
    assert torch.isnan(tensors["log_probs"]).sum() == 1 and set(evidence["tensors"]) == set(tensors)
    assert sorted(path.name for path in (tmp_path / "collapse").iterdir()) == [
        "step_2.json", "step_2.safetensors"]  # fmt: skip

    assert len(seen) == 8
    saved = load_model(result.model, settings=MODEL)[0].state_dict()
    assert saved and all(torch.equal(saved[name], seen[-1][name]) for name in saved)
    assert any(not torch.equal(saved[name], seen[0][name]) for name in saved)
    assert [row["step"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [1]
    half = {".tmp", ".unfinished", ".removed"}
    assert not [path for path in tmp_path.rglob("*") if path.suffix in half]
