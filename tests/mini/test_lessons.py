import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from r1reward.mini.lessons import CURRICULUM, LESSONS, draw_lesson, stage_at
from r1reward.mini.scene import COLOUR_NAMES, SHAPES


@given(st.sampled_from(sorted(LESSONS)), st.integers(0, 2**32))
def test_every_lesson_has_pictures_and_answers(kind, seed):
    lesson = LESSONS[kind](np.random.default_rng(seed))
    assert lesson.scenes and lesson.turns
    assert all(question and answer.endswith(".") for question, answer in lesson.turns)
    assert all(len({cell for cell, _ in scene.items}) == len(scene.items) for scene in lesson.scenes)


@given(st.integers(0, 2**32))
def test_lists_say_what_the_scene_holds(seed):
    rng = np.random.default_rng(seed)
    shapes = LESSONS["shapes"](rng)
    shown = {item.name: item.colour for _, item in shapes.scenes[0].items}
    assert shapes.turns[0][1] == " , ".join(f"{s} {shown.get(s, 'none')}" for s in SHAPES) + " ."
    digits = LESSONS["digits"](rng)
    read = {item.colour: item.name for _, item in digits.scenes[0].items}
    assert digits.turns[0][1] == " , ".join(f"{c} {read.get(c, 'none')}" for c in COLOUR_NAMES) + " ."


@given(st.integers(0, 2**32))
def test_cells_and_moves_say_where_things_are(seed):
    rng = np.random.default_rng(seed)
    cells = LESSONS["cells"](rng)
    where = {item.name: str(cell + 1) for cell, item in cells.scenes[0].items}
    assert cells.turns[0][1] == " , ".join(f"{s} {where.get(s, 'none')}" for s in SHAPES) + " ."
    moves = LESSONS["moves"](rng)
    before, after = ({item.name: cell + 1 for cell, item in scene.items} for scene in moves.scenes)
    assert not set(before.values()) & set(after.values())
    told = {s: f"from {before[s]} to {after[s]}" if s in before else "none" for s in SHAPES}
    assert moves.turns[0][1] == " , ".join(f"{s} {told[s]}" for s in SHAPES) + " ."


def test_no_lesson_compares_two_responses():
    rng = np.random.default_rng(0)
    total = sum(stage.steps for stage in CURRICULUM)
    texts = [text for step in range(0, total, 20) for turn in draw_lesson(step, rng).turns for text in turn]
    assert not any("response" in text or "better" in text for text in texts)


def test_stages_follow_each_other():
    assert stage_at(0) is CURRICULUM[0]
    assert stage_at(CURRICULUM[0].steps) is CURRICULUM[1]
    assert stage_at(10**9) is CURRICULUM[-1]
    assert all(abs(sum(stage.shares.values()) - 1) < 1e-9 for stage in CURRICULUM)
