"""Rewards inside an engine's process: those of `train.rl`, in batches, and never an exception."""

import asyncio
import json
import os
import socket
from pathlib import Path

import pytest
from fault_server import FaultServer

from r1reward.cluster import rewards
from r1reward.cluster.rewards import PARTS, AnswerScorer
from r1reward.config import load_profile
from r1reward.files import read_jsonl
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.settings import RLSettings
from r1reward.types import Completion

LABEL = json.dumps({"pair_id": "p", "preferred": 1})


def answer(text: str) -> Completion:
    return Completion(text, (1,), (0.0,), "stop", (text,))


def scorer(judge=None) -> AnswerScorer:
    return AnswerScorer(RLSettings(), judge or ScriptedConsistencyJudge())


RIGHT = answer("<think>so response 1 is better</think><answer>1</answer>")
CONTRADICTED = answer("<think>so response 2 is better</think><answer>1</answer>")
WRONG = answer("<think>so response 2 is better</think><answer>2</answer>")
SILENT = answer("nothing")


def test_rewards_are_those_of_the_formula() -> None:
    found = scorer().score_all([(one, LABEL) for one in (RIGHT, CONTRADICTED, WRONG, SILENT)])
    assert [one["reward"] for one in found] == [2.0, 1.5, 0.5, 0.0]
    assert [one["contradicted"] for one in found] == [0, 1, 0, 0]
    assert [one["judged"] for one in found] == [1, 1, 0, 0]
    assert [one["unparsed"] for one in found] == [0, 0, 0, 1]
    assert all(set(one) == {"reward", *PARTS} for one in found)


def test_each_process_keeps_a_servers_opinions_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two processes of a machine, and one of another machine with the same number."""

    class Agreeing(FaultServer):
        def good_answer(self, pair_id: str, attempt: int) -> str:
            return "1"

    thought = answer("<think>pair p-1 : so response 1 is better</think><answer>1</answer>")
    with Agreeing() as server:
        address = {"base_url": server.url, "key_variable": "", "model": "m"}
        profile = load_profile("mini", overrides={"judges": {"name": "server", "server": address}})
        monkeypatch.setenv(rewards.PROFILE_VARIABLE, profile.model_dump_json())
        monkeypatch.setenv(rewards.SEED_VARIABLE, "0")
        for variable in (rewards.FOLDER_VARIABLE, rewards.JUDGES_VARIABLE):
            monkeypatch.setenv(variable, str(tmp_path))
        for machine, process in (("a", 11), ("a", 12), ("b", 11)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(socket, "gethostname", lambda name=machine: name)
                patch.setattr(os, "getpid", lambda number=process: number)
                one = AnswerScorer.from_environment()
            assert one.score_all([(thought, LABEL)])[0]["reward"] == 2.0
    kept = sorted(tmp_path.rglob("opinions.jsonl"))
    assert [len(read_jsonl(file)) for file in kept] == [1, 1, 1]


def test_what_cannot_be_scored_is_counted(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        fingerprint = "broken"

        def judge(self, reasonings, verdicts):
            raise RuntimeError("no judge")

    for one, label in ((RIGHT, "{"), (RIGHT, "{}")):
        assert scorer().score_all([(one, label)])[0]["reward_failed"] == 1.0
    assert scorer(Broken()).score_all([(RIGHT, LABEL)])[0]["reward"] == 0.0
    assert "no judge" in caplog.text


def test_answers_that_arrive_together_are_scored_together() -> None:
    sizes = []

    class Counting(ScriptedConsistencyJudge):
        def judge(self, reasonings, verdicts):
            sizes.append(len(reasonings))
            return super().judge(reasonings, verdicts)

    async def ask() -> list[float]:
        one = scorer(Counting())
        found = await asyncio.gather(*(one.score(each, LABEL) for each in [RIGHT, WRONG] * 8))
        return [each["reward"] for each in found]

    assert asyncio.run(ask()) == [2.0, 0.5] * 8
    assert sum(sizes) == 8 and len(sizes) <= 2
