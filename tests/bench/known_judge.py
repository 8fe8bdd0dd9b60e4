"""A judge whose answers are known: it sees what it is asked, and each way of asking has its own answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from r1reward.engines import Sampling
from r1reward.prompts import judge_prompt
from r1reward.types import Completion, PreferencePair, Request

GREY = (128, 128, 128)


class KnownJudge:
    """Right where it is asked greedily and sees something; "1" where it is sampled; silent before grey.

    `wrong` turns the greedy answers round. `asked` keeps every request with its sampling. A sampled "1" was
    drawn with a probability of 0.8, any other digit with 0.5.
    """

    def __init__(self, pairs: Sequence[PreferencePair], *, prompt: Any = "mini", wrong: bool = False) -> None:
        both = [pair for given in pairs for pair in (given, given.swapped())]
        self._right = {judge_prompt(pair, name=prompt): pair.preferred for pair in both}
        self._wrong = wrong
        self.asked: list[tuple[Request, Sampling]] = []

    def generate(
        self, requests: Sequence[Request], sampling: Sampling, *, progress: Any = None
    ) -> list[tuple[Completion, ...]]:
        self.asked += [(request, sampling) for request in requests]
        return [(self._answer(request, sampling),) * sampling.samples for request in requests]

    def _answer(self, request: Request, sampling: Sampling) -> Completion:
        if all(map(is_grey, (*request.images, *request.frames))):
            return Completion("I see nothing", (1, 2, 3), (0.0,) * 3, "stop", ("I", " see", " nothing"))
        digit = self._right[request.text] if sampling.temperature == 0 else 1
        if self._wrong and sampling.temperature == 0:
            digit = 3 - digit
        tokens = ("<think>", "so", "</think>", "<answer>", str(digit), "</answer>")
        log_prob = -0.2231435513 if sampling.temperature else -0.6931471806
        return Completion("".join(tokens), (1,) * 6, (0.0, 0.0, 0.0, 0.0, log_prob, 0.0), "stop", tokens)


def is_grey(path: str) -> bool:
    """Whether a picture is nothing but the grey that stands for a blank one."""
    with Image.open(path) as picture:
        return picture.convert("RGB").getcolors(1) == [(picture.width * picture.height, GREY)]
