"""What a reader can turn is shown once where nobody looks."""

import ipywidgets
import pytest

from r1reward.pipeline import knobs
from r1reward.pipeline.notebook import RUNNER_VARIABLE


def test_a_run_of_the_chain_shows_the_first_value(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[tuple[int, float]] = []
    monkeypatch.setenv(RUNNER_VARIABLE, "1")
    knobs.turn(
        lambda wrong, bound: shown.append((wrong, bound)),
        wrong=ipywidgets.IntSlider(value=3, min=1, max=9),
        bound=ipywidgets.FloatSlider(value=0.5, max=1),
    )
    assert shown == [(3, 0.5)]


def test_moving_a_slider_shows_it_again(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[int] = []
    monkeypatch.delenv(RUNNER_VARIABLE, raising=False)
    slider = ipywidgets.IntSlider(value=3, min=1, max=9)
    knobs.turn(lambda wrong: shown.append(wrong), wrong=slider)
    slider.value = 5
    assert shown[0] == 3 and shown[-1] == 5
