"""A consistency judge behind a server that fails in every way there is."""

import hashlib
import logging
import pickle
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import KEY, KEY_VARIABLE, KINDS, FaultServer

from r1reward.config import load_profile
from r1reward.files import read_jsonl
from r1reward.judge.consistency_judges import (
    MAX_FAILED_IN_A_ROW,
    PROBE_RETRIES,
    FlippedConsistencyJudge,
    ModelConsistencyJudge,
    RandomConsistencyJudge,
    ServerConsistencyJudge,
    make_consistency_judge,
)
from r1reward.prompts import consistency_prompt
from r1reward.servers.client import ServerError
from r1reward.settings import JudgeServerSettings
from r1reward.types import Verdict


class JudgeServer(FaultServer):
    """Has an opinion of its own about each question; `said` is what it says instead."""

    said = ""

    def good_answer(self, pair_id: str, attempt: int) -> str:
        return self.said or ("Output: 1" if opinion_of(pair_id) else "0")


def opinion_of(pair_id: str) -> bool:
    return hashlib.sha256(pair_id.encode()).digest()[0] % 2 == 0


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[JudgeServer]:
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    with JudgeServer() as running:
        yield running


class Asker:
    """A judge at the server that remembers its waits instead of waiting."""

    def __init__(self, server: FaultServer, folder: Path | None = None, **changes: Any) -> None:
        values = {"base_url": server.url, "key_variable": KEY_VARIABLE, "model": "m", "max_retries": 3}
        self.waits: list[float] = []
        settings = JudgeServerSettings(**{**values, **changes})
        self.judge = ServerConsistencyJudge(settings, folder=folder, sleep=self.waits.append)

    def __call__(self, *numbers: int) -> list[bool | None]:
        reasonings = [f"pair p-{number} : response 1 is better ." for number in numbers]
        return self.judge.judge(reasonings, [Verdict.FIRST] * len(numbers))

    def record(self, *names: str) -> list[Any]:
        return [self.judge.record()[name] for name in names]


def expected(*numbers: int) -> list[bool | None]:
    return [opinion_of(f"p-{number}") for number in numbers]


def test_every_question_gets_its_own_answer_whatever_the_server_does(
    server: JudgeServer, tmp_path: Path
) -> None:
    kinds = [*KINDS] * 3
    random.Random(0).shuffle(kinds)
    server.plans = {f"p-{index}": [kind] for index, kind in enumerate(kinds)}
    ask = Asker(server, tmp_path, concurrency=16, max_retries=6)
    assert ask(*range(80), 3, 3) == expected(*range(80), 3, 3)
    planned = Counter(f"p-{index}" for index in range(len(kinds)))
    assert server.asked() == planned + Counter(f"p-{index}" for index in range(80))
    assert len(ask.waits) == len(kinds)
    assert ask.record("answers", "unanswered", "outages") == [80, 0, 0]
    rows = read_jsonl(tmp_path / "opinions.jsonl")
    assert len({row["key"] for row in rows}) == len(rows) == 80
    asked = [row["key"] for row in read_jsonl(tmp_path / "requests.jsonl") if row["outcome"] == "answered"]
    assert sorted(asked) == sorted(row["key"] for row in rows)


def test_what_is_sent_is_the_released_prompt(server: JudgeServer) -> None:
    Asker(server, seed=3)(0)
    ((_, body, headers),) = server.requests
    text = consistency_prompt("pair p-0 : response 1 is better .", Verdict.FIRST, name="released")
    assert body["messages"] == [{"role": "user", "content": text}]
    sent = (body["model"], body["temperature"], body["max_tokens"], body["seed"])
    assert sent == ("m", 0.0, 16, 3)
    assert headers["authorization"] == f"Bearer {KEY}"


def test_a_resumed_run_does_not_ask_again(server: JudgeServer, tmp_path: Path) -> None:
    first = Asker(server, tmp_path)(*range(20))
    with (tmp_path / "opinions.jsonl").open("a") as stream:
        stream.write('{"key": "a process was killed he')
    server.requests.clear()
    again = Asker(server, tmp_path, base_url=server.url + "/", timeout_seconds=9.0)
    assert again(*range(22)) == [*first, *expected(20, 21)]
    assert server.asked() == Counter(["p-20", "p-21"])
    assert len(read_jsonl(tmp_path / "opinions.jsonl")) == 22
    changes: list[dict[str, Any]] = [
        {"model": "another"},
        {"temperature": 0.5},
        {"seed": 4},
        {"max_tokens": 8},
    ]
    for number, change in enumerate(changes, start=1):
        Asker(server, tmp_path, **change)(0)
        assert server.asked()["p-0"] == number, change


@pytest.mark.parametrize("fault", ["500", "reset", "html", "10 MB"])
def test_an_outage_costs_one_round_of_repetitions_and_then_one_question_a_call(
    server: JudgeServer, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    ask = Asker(server, concurrency=4)
    assert ask(0, 1) == expected(0, 1)
    server.requests.clear()
    server.always = fault
    assert ask(*range(258)) == [*expected(0, 1), *[None] * 256]
    most = MAX_FAILED_IN_A_ROW + 3  # the other threads are busy with a question, too
    assert len(server.requests) <= 4 * most
    assert caplog.text.count("pays nothing until it answers again") == 1
    for calls in (1, 2):
        server.requests.clear()
        assert ask(*range(2, 258)) == [None] * 256
        assert len(server.requests) == PROBE_RETRIES + 1
        assert ask.record("unanswered", "outages") == [256 * (calls + 1), 1]
    server.always = ""
    assert ask(*range(258)) == expected(*range(258))
    assert "answers again" in caplog.messages[-1]
    server.always = fault
    assert ask(*range(300, 400)) == [None] * 100
    assert ask.record("outages") == [2]


def test_a_server_that_is_not_there_or_never_answers_is_an_outage(server: JudgeServer) -> None:
    hangs = Asker(server, max_retries=0, timeout_seconds=0.2)
    server.always = "timeout"
    assert hangs(*range(20)) == [None] * 20
    assert set(hangs.record("faults")[0]) == {"timeout"}
    gone = Asker(server, max_retries=1)
    server._server.server_close()
    assert gone(*range(20)) == [None] * 20
    assert set(gone.record("faults")[0]) == {"connection"}


def test_a_question_that_the_server_refuses_is_unknown_and_no_outage(server: JudgeServer) -> None:
    server.plans = {f"p-{number}": ["400"] for number in range(10)}
    ask = Asker(server, concurrency=1)
    assert ask(*range(12)) == [*[None] * 10, *expected(10, 11)]
    assert ask.record("unanswered", "outages") == [10, 0] and ask.waits == []


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("401", rf"HTTP 401\) refuses the key: set the variable {KEY_VARIABLE}"),
        ("403", "that may use m"),
        ("404", r"no model 'm' at http.*judges\.server\.model"),
        ("429 quota", "no credit left"),
    ],
)
def test_a_refusal_is_an_error_at_the_first_call_only(
    server: JudgeServer, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str, message: str
) -> None:
    caplog.set_level(logging.DEBUG)
    server.always = fault
    ask = Asker(server, tmp_path, concurrency=4)
    for _ in range(2):
        with pytest.raises(ServerError, match=message) as caught:
            ask(*range(40))
        assert ask.waits == []
    server.always = ""
    assert ask(*range(40)) == expected(*range(40))
    server.always = fault
    assert ask(*range(50)) == [*expected(*range(40)), *[None] * 10]
    written = "".join(path.read_text() for path in tmp_path.iterdir())
    assert KEY not in written + str(caught.value) + caplog.text + str(ask.judge.record())


def test_a_refusal_after_an_outage_does_not_end_a_run(server: JudgeServer) -> None:
    server.always = "500"
    ask = Asker(server)
    assert ask(*range(20)) == [None] * 20
    server.always = "401"
    assert ask(*range(20)) == [None] * 20


def test_an_answer_that_says_nothing_is_unknown_and_not_asked_again(
    server: JudgeServer, tmp_path: Path
) -> None:
    server.said = "I cannot tell"
    assert Asker(server, tmp_path)(0) == [None]
    ask = Asker(server, tmp_path)
    assert ask(0, 0) == [None, None] and len(server.requests) == 1
    assert ask.record("unanswered", "answers") == [0, 1]


def test_a_full_disk_is_no_outage(server: JudgeServer, tmp_path: Path) -> None:
    ask = Asker(server, tmp_path, concurrency=2)
    (tmp_path / "opinions.jsonl").mkdir()
    with pytest.raises(IsADirectoryError):
        ask(*range(100))
    assert len(server.requests) < 100


def test_a_judge_can_be_sent_to_a_process(server: JudgeServer, tmp_path: Path) -> None:
    ask = Asker(server, tmp_path)
    ask(0)
    sent = pickle.dumps(ask.judge)
    assert KEY.encode() not in sent
    copy = pickle.loads(sent)
    assert copy.fingerprint == ask.judge.fingerprint and copy.settings == ask.judge.settings
    reasoning = "pair p-0 : response 1 is better ."
    assert copy.judge([reasoning], [Verdict.FIRST]) == expected(0) and len(server.requests) == 1
    other = ServerConsistencyJudge(ask.judge.settings, prompt="mini")
    assert pickle.loads(pickle.dumps(other)).fingerprint == other.fingerprint != copy.fingerprint


def test_a_missing_key_is_noticed_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    with pytest.raises(ServerError, match=rf"{KEY_VARIABLE} is not set.*judges\.server\.key_variable"):
        ServerConsistencyJudge(JudgeServerSettings(key_variable=KEY_VARIABLE))


def test_the_settings_choose_the_judge(tmp_path: Path) -> None:
    paper, mini = load_profile("paper"), load_profile("mini")
    strong = make_consistency_judge(paper, "strong", tmp_path, seed=0, cache=tmp_path / "cache")
    weak = make_consistency_judge(paper, "weak", tmp_path, seed=0)
    assert isinstance(strong, ServerConsistencyJudge) and isinstance(weak, ServerConsistencyJudge)
    assert (strong.settings.model, weak.settings.model) == (
        "Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-3B-Instruct")  # fmt: skip
    assert strong.fingerprint != weak.fingerprint
    assert not (tmp_path / "cache").exists()
    noisy = make_consistency_judge(paper, "noisy", tmp_path, seed=0)
    assert isinstance(noisy, FlippedConsistencyJudge) and strong.fingerprint in noisy.fingerprint
    assert isinstance(make_consistency_judge(paper, "random", tmp_path, seed=0), RandomConsistencyJudge)
    assert isinstance(make_consistency_judge(mini, "weak", tmp_path, seed=0), ModelConsistencyJudge)
