"""Eight kinds of fault over 200 questions: none is lost or doubled, and all answers are the right ones."""

from __future__ import annotations

import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from raw_server import RawServer, http, says

from r1reward.data.annotate import annotate_pairs
from r1reward.data.annotators import OpenAIAnnotator
from r1reward.engines import Sampling
from r1reward.engines.openai import OpenAIEngine
from r1reward.files import read_jsonl
from r1reward.judge.consistency_judges import ServerConsistencyJudge
from r1reward.settings import AnnotatorSettings, EngineServerSettings, JudgeServerSettings
from r1reward.types import PreferencePair, Request, Verdict

QUESTIONS = 200
KINDS = ("500", "429", "dropped", "truncated", "stray", "slow", "wrong type", "refused")


class Faulty:
    """Fails at the first request about each question, by a kind of its own; then answers by `say`."""

    def __init__(self, server: RawServer, say: Callable[[str], str]) -> None:
        self.say, self.answered, self.faults = say, Counter[str](), Counter[str]()
        self._seen, self._lock, self.closing = set[str](), threading.Lock(), threading.Event()
        server.answer = self.answer

    def answer(self, body: dict[str, Any], headers: dict[str, str]) -> bytes:
        content = body["messages"][0]["content"]
        text = content if isinstance(content, str) else content[-1]["text"]
        (name,) = set(re.findall(r"p-\d+", text))
        kind = KINDS[int(name[2:]) % len(KINDS)]
        good = http(200, says(self.say(name)))
        with self._lock:
            fails = name not in self._seen and not (kind == "refused" and "top_k" not in body)
            self._seen.add(name)
            self.faults[kind] += fails
            if kind == "stray" or not fails:
                self.answered[name] += 1
        return self._fail(kind, good) if fails else good

    def _fail(self, kind: str, good: bytes) -> bytes:
        if kind == "slow":
            self.closing.wait(timeout=60)
        half = http(200, b'{"choices": [{"message": {"content": "<answer>2')
        return {
            "500": http(500, {"error": "try later"}),
            "429": http(429, {"error": "slow down"}, {"retry-after": "7"}),
            "dropped": good[: len(good) - 20],
            "truncated": half,
            "stray": good + http(200, says("0 <answer>2</answer>")),
            "slow": good,
            "wrong type": http(200, {"choices": [{"message": {"content": 1}}]}),
            "refused": http(400, {"error": {"message": "top_k is not supported"}}),
        }[kind]


def connection(server: RawServer) -> dict[str, Any]:
    return {
        "base_url": server.url,
        "key_variable": "",
        "model": "m",
        "concurrency": 32,
        "timeout_seconds": 5.0,
    }


def by_engine(server: RawServer, folder: Path, sleep: Callable[[float], object]) -> list[str]:
    engine = OpenAIEngine(EngineServerSettings(**connection(server)), log=folder / "log", sleep=sleep)
    requests = [Request(f"question p-{index}") for index in range(QUESTIONS)]
    return [one.text for (one,) in engine.generate(requests, Sampling(8, temperature=0.7, seed=3))]


def by_annotator(server: RawServer, folder: Path, sleep: Callable[[float], object]) -> list[str]:
    annotator = OpenAIAnnotator(AnnotatorSettings(**connection(server)), log=folder / "log", sleep=sleep)
    pairs = [PreferencePair(f"p-{n}", "p", f"which p-{n} ?", ("a", "b"), 1) for n in range(QUESTIONS)]
    found = annotate_pairs(annotator, pairs, path=folder / "annotations.jsonl", max_attempts=3)
    assert sorted(row["pair_id"] for row in read_jsonl(folder / "annotations.jsonl")) == sorted(
        pair.pair_id for pair in pairs
    )
    return [text for one in found for text in one.answers]


def by_judge(server: RawServer, folder: Path, sleep: Callable[[float], object]) -> list[str]:
    settings = JudgeServerSettings(**connection(server))
    judge = ServerConsistencyJudge(settings, folder=folder, sleep=sleep)
    opinions = judge.judge([f"about p-{n}" for n in range(QUESTIONS)], [Verdict.FIRST] * QUESTIONS)
    (folder / "requests.jsonl").rename(folder / "log")
    return [{True: "1", False: "0"}[bool(opinion)] for opinion in opinions if opinion is not None]


@pytest.fixture
def faulty(raw_server: RawServer) -> Iterator[Faulty]:
    running = Faulty(raw_server, lambda name: "")
    raw_server.hangs_up = True
    yield running
    running.closing.set()


@pytest.mark.parametrize(
    ("ask", "say"),
    [
        (by_engine, lambda name: f"<think>{name}</think><answer>{1 + int(name[2:]) % 2}</answer>"),
        (by_annotator, lambda name: f"<think>{name}</think><answer>1</answer>"),
        (by_judge, lambda name: str(int(name[2:]) % 2)),
    ],
)
def test_nothing_is_lost_doubled_or_exchanged(
    raw_server: RawServer, faulty: Faulty, tmp_path: Path, ask: Any, say: Callable[[str], str]
) -> None:
    faulty.say = say
    waits: list[float] = []
    found = ask(raw_server, tmp_path, waits.append)
    names = [f"p-{index}" for index in range(QUESTIONS)]
    assert found == [say(name) for name in names]
    assert faulty.answered == Counter(names)
    assert set(faulty.faults) == set(KINDS) and all(faulty.faults.values())
    # A second answer to one request is no fault that anybody sees, and what is refused is not waited for.
    seen = faulty.faults.total() - faulty.faults["stray"]
    log = Counter(row["outcome"] for row in read_jsonl(tmp_path / "log"))
    assert log["answered"] == QUESTIONS and log.total() == QUESTIONS + seen
    assert len(waits) == seen - faulty.faults["refused"]
    assert len([wait for wait in waits if wait >= 7]) >= faulty.faults["429"] == QUESTIONS // len(KINDS)
