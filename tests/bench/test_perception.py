"""Accuracy and confusion counts of single questions, with engines whose answers are known."""

import numpy as np
import pytest

from r1reward.bench import perception as module
from r1reward.bench.perception import SKILLS, measure_perception
from r1reward.types import Completion


class EchoEngine:
    """Answers every question with one text and remembers what it was asked."""

    def __init__(self, text: str) -> None:
        self.text, self.requests = text, []

    def generate(self, requests, sampling, *, progress=None):
        self.requests += requests
        return [(Completion(self.text, (1,), (0.0,), "stop"),) for _ in requests]


class KnowingEngine:
    """Knows the truth of every question it is asked, by the name of the picture, and tells some of it."""

    def __init__(self, told) -> None:
        self.told, self.cases, self.sampling = told, {}, set()

    def generate(self, requests, sampling, *, progress=None):
        self.sampling.add((sampling.temperature, sampling.samples))
        return [(Completion(self._answer(request), (1,), (0.0,), "stop"),) for request in requests]

    def _answer(self, request):
        index = int(request.origin.split()[-1])
        case = self.cases[request.images or request.frames]
        values = [value for _, value in case.facts] if self.told(index) else case.wrong
        return case.answer(values)


@pytest.mark.parametrize(("told", "share"), [(lambda index: True, 1.0), (lambda index: index % 4 == 0, 0.25)])
def test_right_answers_count_and_wrong_ones_do_not(told, share, tmp_path, monkeypatch):
    engine, draw = KnowingEngine(told), module._draw

    def remember(*asked):
        cases, requests = draw(*asked)
        engine.cases |= {one.images or one.frames: case for case, one in zip(cases, requests, strict=True)}
        return cases, requests

    monkeypatch.setattr(module, "_draw", remember)
    result = measure_perception(engine, tmp_path, cases=16, seed=0)
    assert {name: found["accuracy"] for name, found in result.items()} == dict.fromkeys(SKILLS, share)
    assert engine.sampling == {(0.0, 1)}
    for name, found in result.items():
        matrix = np.array(found["confusion"])
        on_diagonal = np.trace(matrix[:, : len(found["labels"])]) / matrix.sum()
        assert on_diagonal == 1 if share == 1 else on_diagonal < 0.7, name


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


@pytest.mark.parametrize("split", ["validation", "test"])
def test_scenes_look_as_those_of_the_split_that_is_named(split, tmp_path, monkeypatch):
    shown, render = set(), module.render

    def remember(scene, rng, name):
        shown.add(name)
        return render(scene, rng, name)

    monkeypatch.setattr(module, "render", remember)
    measure_perception(EchoEngine("."), tmp_path, cases=1, seed=0, split=split)
    assert shown == {split}


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


def test_each_skill_is_asked_by_its_own_tasks(tmp_path, monkeypatch):
    drawn, draw = {}, module._draw

    def remember(skill, *asked):
        cases, requests = draw(skill, *asked)
        drawn[skill] = {case.task for case in cases}, {len(one.frames) > 1 for one in requests}
        return cases, requests

    monkeypatch.setattr(module, "_draw", remember)
    measure_perception(EchoEngine("."), tmp_path, cases=4, seed=5)
    tasks = {name: drawn[skill][0] for name, skill in SKILLS.items()}
    assert (
        tasks["video"] == {"motion"} and tasks["existence"] == {"existence"} and tasks["counts"] == {"count"}
    )
    assert tasks["refusal"] == {"sign", "secret"} and tasks["attributes"] == {"colour", "shape"}
    assert [name for name, skill in SKILLS.items() if drawn[skill][1] == {True}] == ["video"]
