from collections.abc import Sequence
from typing import Any

from r1reward.data.annotators import ModelAnnotator
from r1reward.engines import Sampling
from r1reward.prompts import judge_prompt
from r1reward.types import Completion, PreferencePair, Request

PAIRS = [PreferencePair(f"p-{i}", "p", f"q {i} ?", ("a", "b"), 1) for i in range(3)]


class Echo:
    """Answers with the prompt and keeps how it was asked."""

    def __init__(self) -> None:
        self.asked: list[Sampling] = []

    def generate(self, requests: Sequence[Request], sampling: Sampling, **_: Any) -> list[tuple[Completion]]:
        self.asked.append(sampling)
        return [(Completion(request.text, (1,), (0.0,), "stop"),) for request in requests]


def _annotator(engine: Echo, **changes: Any) -> ModelAnnotator:
    return ModelAnnotator(engine, **{"model": "m", "prompt": "mini", "max_new_tokens": 9, **changes})


def test_the_first_attempt_is_greedy_and_later_ones_are_drawn_anew() -> None:
    engine = Echo()
    annotator = _annotator(engine, retry_temperature=0.7)
    answers = [annotator.answers(PAIRS, attempt) for attempt in range(3)]
    assert answers[0] == [judge_prompt(pair, name="mini") for pair in PAIRS]
    assert [one.temperature for one in engine.asked] == [0.0, 0.7, 0.7]
    assert len({one.seed for one in engine.asked}) == 3
    assert len(engine.asked) == 3


def test_the_fingerprint_changes_with_everything_that_changes_answers() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"model": "n"},
        {"prompt": "reworded"},
        {"temperature": 1.0},
        {"retry_temperature": 0.5},
        {"max_new_tokens": 8},
        {"seed": 1},
        {"batch_size": 2},
    ]
    prints = {_annotator(Echo(), **change).fingerprint for change in changes}
    assert len(prints) == len(changes)
