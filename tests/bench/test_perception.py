"""Accuracy and confusion counts of single questions, with engines whose answers are known."""

import pytest

from r1reward.bench.perception import SKILLS, measure_perception
from r1reward.types import Completion


class EchoEngine:
    """Answers every question with one text and remembers what it was asked."""

    def __init__(self, text: str) -> None:
        self.text, self.requests = text, []

    def generate(self, requests, sampling, *, progress=None):
        self.requests += requests
        return [(Completion(self.text, (1,), (0.0,), "stop"),) for _ in requests]


@pytest.fixture(scope="module")
def blind(tmp_path_factory):
    engine = EchoEngine("there are 3 rings . yes")
    return engine, measure_perception(engine, tmp_path_factory.mktemp("seen"), cases=60, seed=0)


def test_a_judge_that_always_says_three_is_right_as_often_as_there_are_three(blind):
    _, result = blind
    counts = result["counts"]
    column = counts["labels"].index("3")
    assert counts["accuracy"] == counts["confusion"][column][column] / 60
    assert sum(row[column] for row in counts["confusion"]) == 60
    assert counts["interval"][0] < counts["accuracy"] < counts["interval"][1]


def test_what_is_no_answer_counts_as_other(blind):
    _, result = blind
    digits = result["digits"]
    assert digits["accuracy"] == 0
    assert [row[-1] for row in digits["confusion"]] == [sum(row) for row in digits["confusion"]]


def test_every_skill_is_asked_with_pictures_and_video_with_frames(blind):
    engine, result = blind
    assert set(result) == set(SKILLS)
    moving = [request for request in engine.requests if request.text.startswith("which way")]
    assert all(len(request.frames) == 2 and not request.images for request in moving)
    assert all(len(request.images) == 1 for request in engine.requests if request not in moving)
