from collections.abc import Callable, Sequence

import pytest

from r1reward.engines import Sampling
from r1reward.judge.reward_model import judge_pairs, judge_samples
from r1reward.prompts import judge_prompt
from r1reward.types import Completion, PreferencePair, Request, Verdict


class ScriptedEngine:
    """Answers with given texts and remembers its requests."""

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = list(texts)
        self.requests: list[Request] = []

    def generate(
        self,
        requests: Sequence[Request],
        sampling: Sampling,
        *,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[tuple[Completion, ...]]:
        self.requests += requests
        if progress:
            progress(len(requests), len(requests))
        answers = [Completion(text, (1, 2), (-0.1, -0.2), "stop") for text in self.texts]
        return [(answer,) * sampling.samples for answer in answers]


PAIRS = [
    PreferencePair("p-0", "p", "q0", ("a", "b"), 1, images=("a.png",), origin="f.json, row 1"),
    PreferencePair("p-1", "p", "q1", ("c", "d"), 2, frames=("0.png", "1.png")),
    PreferencePair("p-2", "p", "q2", ("e", "f"), 2),
]
TEXTS = ["<think>one</think><answer>1</answer>", "<think>two</think><answer>2</answer>", "hm"]


def test_pairs_become_requests_and_completions_judgments() -> None:
    engine, seen = ScriptedEngine(TEXTS), []
    votes = judge_pairs(
        engine, PAIRS, prompt="mini", sampling=Sampling(8, 0.0), progress=lambda *counts: seen.append(counts)
    )
    assert [j.verdict for j in votes] == [Verdict.FIRST, Verdict.SECOND, Verdict.UNPARSED]
    assert [j.reasoning for j in votes] == ["one", "two", "hm"]
    assert [j.completion.text for j in votes] == TEXTS
    first, second, third = engine.requests
    assert first == Request(judge_prompt(PAIRS[0], name="mini"), ("a.png",), (), "f.json, row 1")
    assert second.frames == ("0.png", "1.png") and third.origin == "p-2"
    assert seen == [(3, 3)]


def test_the_prompt_is_chosen_by_name() -> None:
    engine = ScriptedEngine(TEXTS)
    judge_pairs(engine, PAIRS, prompt="paper", sampling=Sampling(8, 0.0))
    assert engine.requests[0].text == judge_prompt(PAIRS[0], name="paper")


def test_several_samples_need_judge_samples() -> None:
    sampling = Sampling(8, 1.0, samples=3)
    judged = judge_samples(ScriptedEngine(TEXTS), PAIRS, prompt="mini", sampling=sampling)
    assert [len(votes) for votes in judged] == [3, 3, 3]
    with pytest.raises(ValueError, match="one sample"):
        judge_pairs(ScriptedEngine(TEXTS), PAIRS, prompt="mini", sampling=sampling)


def test_missing_answers_are_an_error() -> None:
    with pytest.raises(ValueError, match="2 of 3"):
        judge_pairs(ScriptedEngine(TEXTS[:2]), PAIRS, prompt="mini", sampling=Sampling(8, 0.0))
