"""Pictures of the mini world: coloured shapes and real handwritten digits on a 3 x 3 grid.

A scene is data; `render` turns it into pixels. Each cell is 28 x 28 pixels, the area of one visual
token of Qwen2.5-VL, so a picture costs nine tokens. Digits are scikit-learn's bundled UCI images:
real handwriting, so reading them is naturally ambiguous. Digit images are disjoint between splits.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from PIL import Image, ImageDraw

Split = Literal["train", "validation", "test"]

GRID = 3
CELL = 28
SIDE = GRID * CELL
SHAPES = ("circle", "cross", "ring", "square", "star", "triangle")
COLOURS = {
    "black": (30, 30, 30),
    "blue": (50, 90, 220),
    "green": (40, 160, 70),
    "purple": (150, 60, 180),
    "red": (215, 50, 45),
    "yellow": (230, 190, 30),
}
COLOUR_NAMES = tuple(COLOURS)
# The rotary positions of the language model hardly differ between three columns; the frame tells them apart.
FRAME = 120
VARIANTS = 48
SPLIT_SEED = 20250509


@dataclass(frozen=True, slots=True)
class Item:
    """One thing in a cell: a shape or a handwritten digit (`name` is "0".."9"), perhaps on a sign."""

    name: str
    colour: str
    on_sign: bool = False


@dataclass(frozen=True, slots=True)
class Scene:
    """Items by cell (0..8, row by row). Cells not named are empty."""

    items: tuple[tuple[int, Item], ...]

    def moved(self, start: int, end: int) -> Scene:
        """The same scene with the item of cell `start` in cell `end`."""
        return Scene(tuple((end if cell == start else cell, item) for cell, item in self.items))


@cache
def digit_images(split: Split) -> dict[str, tuple[np.ndarray, ...]]:
    """Handwritten digits of a split: 60 % train, 20 % validation, 20 % test, as (8, 8) in [0, 1]."""
    # Takes longer to load than all of the data commands together, which seldom draw a digit.
    from sklearn.datasets import load_digits

    images, labels = (np.asarray(part) for part in load_digits(return_X_y=True))
    images = images.reshape(-1, 8, 8).astype(np.float32) / 16
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    first, second = int(0.6 * len(order)), int(0.8 * len(order))
    chosen = {"train": order[:first], "validation": order[first:second], "test": order[second:]}[split]
    return {str(digit): tuple(images[i] for i in chosen if labels[i] == digit) for digit in range(10)}


def _polygon(name: str, size: float, turn: float) -> list[tuple[float, float]]:
    corners, radii = {"triangle": (3, (1.0,)), "square": (4, (1.0,)), "star": (10, (1.0, 0.42))}[name]
    angles = (
        turn - np.pi / 2 + 2 * np.pi * np.arange(corners) / corners + (np.pi / 4 if name == "square" else 0)
    )
    return [
        (size * radii[i % len(radii)] * np.cos(angle), size * radii[i % len(radii)] * np.sin(angle))
        for i, angle in enumerate(angles)
    ]


@cache
def _shape_masks(name: str) -> np.ndarray:
    """(VARIANTS, 28, 28) coverage in [0, 1] of one shape with jittered size, place and turn."""
    rng = np.random.default_rng([SPLIT_SEED, SHAPES.index(name)])
    scale = 4
    masks = []
    for _ in range(VARIANTS):
        size = scale * rng.uniform(8.5, 11.5)
        x, y = scale * (CELL / 2 + rng.uniform(-2, 2, size=2))
        turn = rng.uniform(-0.2, 0.2)
        image = Image.new("L", (CELL * scale, CELL * scale))
        draw = ImageDraw.Draw(image)
        box = (x - size, y - size, x + size, y + size)
        if name == "circle":
            draw.ellipse(box, fill=255)
        elif name == "ring":
            draw.ellipse(box, outline=255, width=int(0.38 * size))
        elif name == "cross":
            for angle in (turn + np.pi / 4, turn - np.pi / 4):
                step = (size * np.cos(angle), size * np.sin(angle))
                draw.line(
                    (x - step[0], y - step[1], x + step[0], y + step[1]), fill=255, width=int(0.5 * size)
                )
        else:
            draw.polygon([(x + a, y + b) for a, b in _polygon(name, size, turn)], fill=255)
        masks.append(np.asarray(image.resize((CELL, CELL), Image.Resampling.BOX), np.float32) / 255)
    return np.stack(masks)


def _digit_mask(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    height, width = rng.integers(21, 27, size=2)
    drawn = Image.fromarray((255 * image).astype(np.uint8)).resize(
        (int(width), int(height)), Image.Resampling.BICUBIC
    )
    mask = np.zeros((CELL, CELL), np.float32)
    top, left = rng.integers(0, CELL - height + 1), rng.integers(0, CELL - width + 1)
    mask[top : top + height, left : left + width] = np.asarray(drawn, np.float32) / 255
    return mask


def _draw_sign(cell: np.ndarray) -> None:
    frame = np.array((200, 120, 20), np.float32)
    cell[:2], cell[-2:], cell[:, :2], cell[:, -2:] = frame, frame, frame, frame


def render(scene: Scene, rng: np.random.Generator, split: Split) -> Image.Image:
    """Draw a scene as a framed 84 x 84 RGB picture; size, place, tint and noise vary with `rng`."""
    canvas = np.full((SIDE, SIDE, 3), FRAME, np.float32)
    canvas[2:-2, 2:-2] = rng.uniform(225, 250)
    for index, item in scene.items:
        row, column = divmod(index, GRID)
        cell = canvas[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        if item.name in SHAPES:
            mask = _shape_masks(item.name)[rng.integers(VARIANTS)]
        else:
            pool = digit_images(split)[item.name]
            mask = _digit_mask(pool[rng.integers(len(pool))], rng)
        tint = np.clip(np.array(COLOURS[item.colour], np.float32) + rng.normal(0, 10, 3), 0, 255)
        cell += mask[..., None] * (tint - cell)
        if item.on_sign:
            _draw_sign(cell)
    canvas += rng.normal(0, 4, canvas.shape[:2])[..., None]
    return Image.fromarray(np.clip(canvas, 0, 255).astype(np.uint8))


def place(items: list[Item], rng: np.random.Generator) -> Scene:
    """Put the items into different cells at random."""
    cells = rng.permutation(GRID * GRID)[: len(items)]
    return Scene(tuple((int(cell), item) for cell, item in zip(cells, items, strict=True)))
