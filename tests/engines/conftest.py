"""An untrained tiny model and a few pictures of different sizes."""

from typing import Any

import numpy as np
import pytest
from PIL import Image

from r1reward.engines.transformers import TransformersEngine
from r1reward.mini.tiny import build_tiny
from r1reward.types import Request

TEXTS = (
    "what colour is it ?",
    "which way did the blue circle move , left or right ?",
    "say yes .",
    "no picture here",
)


@pytest.fixture(scope="session")
def tiny() -> tuple[Any, Any]:
    return build_tiny(0, TEXTS * 20)


@pytest.fixture(scope="session")
def engine(tiny: tuple[Any, Any]) -> TransformersEngine:
    return TransformersEngine(*tiny, batch_size=64, max_prompt_tokens=512)


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    paths = []
    for index, (height, width) in enumerate([(84, 84), (56, 112), (84, 84), (30, 100)]):
        path = folder / f"{index}.png"
        Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
        paths.append(str(path))
    return paths


@pytest.fixture(scope="session")
def requests_(pictures: list[str]) -> list[Request]:
    """One picture, two frames, two pictures, none, four frames, pictures and frames together."""
    one, wide, other, odd = pictures
    return [
        Request(TEXTS[0], (one,), origin="pairs.jsonl, row 1"),
        Request(TEXTS[1], frames=(one, other), origin="pairs.jsonl, row 2"),
        Request(TEXTS[2], (wide, odd), origin="pairs.jsonl, row 3"),
        Request(TEXTS[3], origin="pairs.jsonl, row 4"),
        Request(TEXTS[1] * 2, frames=(one, other, one, other), origin="pairs.jsonl, row 5"),
        Request(TEXTS[0], (odd,), (one, other), origin="pairs.jsonl, row 6"),
    ]


@pytest.fixture(scope="session")
def sharing(pictures: list[str]) -> list[Request]:
    """Several questions about one picture, about one video and pictures with it, and one about another."""
    one, wide, other, odd = pictures
    return [
        Request("compare : is it red ? or green ?", (one,), origin="row 1"),
        Request("which way ? left", (odd,), (one, other), origin="row 2"),
        Request("compare : is it red ?", (one,), origin="row 3"),
        Request("compare : is it <|vision_end|> <|im_end|> red ? or blue ?", (one,), origin="row 4"),
        Request("no words in common", (odd,), (one, other), origin="row 5"),
        Request("say yes .", (wide, odd), origin="row 6"),
    ]
