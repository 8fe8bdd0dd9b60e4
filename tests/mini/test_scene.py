import numpy as np
import pytest

from r1reward.mini.scene import CELL, SHAPES, SIDE, Item, Scene, digit_images, place, render


def test_digit_pictures_are_disjoint_between_splits_and_complete():
    seen = {}
    for split in ("train", "validation", "test"):
        pool = digit_images(split)
        assert all(len(pool[str(digit)]) >= 20 for digit in range(10))
        seen[split] = {image.tobytes() for images in pool.values() for image in images}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]


@pytest.mark.parametrize("name", [*SHAPES, "7"])
def test_an_item_colours_its_own_cell_only(name):
    scene = Scene(((4, Item(name, "red")),))
    empty = np.asarray(render(Scene(()), np.random.default_rng(0), "train"), float)
    drawn = np.asarray(render(scene, np.random.default_rng(0), "train"), float)
    redness = drawn[..., 0] - drawn[..., 2]
    cell = (slice(CELL, 2 * CELL), slice(CELL, 2 * CELL))
    assert (redness[cell] > 100).mean() > 0.05
    redness[cell] = 0
    assert (redness > 60).sum() == 0
    assert drawn.shape == empty.shape == (SIDE, SIDE, 3)


def test_the_same_generator_gives_the_same_picture():
    scene = place([Item("3", "blue"), Item("ring", "green")], np.random.default_rng(5))
    pictures = [render(scene, np.random.default_rng(7), "test").tobytes() for _ in range(2)]
    assert pictures[0] == pictures[1]
    assert pictures[0] != render(scene, np.random.default_rng(8), "test").tobytes()


def test_items_get_different_cells():
    scene = place([Item("ring", "red")] * 9, np.random.default_rng(0))
    assert sorted(cell for cell, _ in scene.items) == list(range(9))


def test_the_frame_tells_every_cell_from_the_others():
    canvas = np.asarray(render(Scene(()), np.random.default_rng(0), "train"), float).mean(-1)
    dark = canvas < 180
    edges = set()
    for cell in range(9):
        row, column = divmod(cell, 3)
        part = dark[row * CELL : (row + 1) * CELL, column * CELL : (column + 1) * CELL]
        edges.add((part[0].all(), part[-1].all(), part[:, 0].all(), part[:, -1].all()))
    assert len(edges) == 9
