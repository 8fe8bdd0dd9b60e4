"""Prompt sets in their real schemas, written by the mini world and by hand."""

import base64
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r1reward.data.catalogue import PROMPT_SETS
from r1reward.data.rows import Quarantine
from r1reward.downstream.questions import (
    Question,
    read_prompts,
    read_questions,
    with_options,
    write_questions,
)
from r1reward.mini.scene import render
from r1reward.mini.tasks import TASKS
from r1reward.mini.world.downstream import write_downstream
from r1reward.mini.world.sources import ask_options


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    folder = tmp_path_factory.mktemp("world")
    write_downstream(folder, prompts=50, lessons=20, questions=12, seed=3)
    return folder


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "made.png"
    rng = np.random.default_rng(0)
    render(TASKS["colour"](rng).scenes[0], rng, "train").save(path)
    return path.read_bytes()


def test_the_world_s_prompts_are_read_by_the_real_readers(world, tmp_path):
    found = read_prompts(world / "prompts", style="mini", cache=tmp_path)
    counts = {name: sum(one.source == name for one in found) for name in PROMPT_SETS}
    assert counts == {"v_star": 18, "arxivqa": 2, "thinklite_vl": 30, "deepeyes_47k": 0}
    assert all(one.answer and len(one.images) == 1 and "<image>" not in one.text for one in found)
    chosen = [one for one in found if one.source == "arxivqa"]
    assert all(" A : " in one.text and one.answer in "ABCD" for one in chosen)


def test_lessons_answer_in_sentences(world, tmp_path):
    lessons = read_prompts(world / "lessons", style="mini", cache=tmp_path)
    assert len(lessons) == 20
    assert sum(" A : " in one.text for one in lessons) == 8
    assert all(one.answer.endswith(" .") and len(one.answer.split()) > 3 for one in lessons)


def test_options_are_written_out_as_the_judge_has_seen_them():
    options = {"A": "red", "B": "blue", "C": "green", "D": "black"}
    assert with_options("what colour ?", options, style="mini") == ask_options(
        "what colour ?", list(options.values())
    )
    asked = with_options("What colour?", {"A": "red", "B": "blue"}, style="vlmevalkit")
    assert asked.startswith("Question: What colour?\nOptions:\nA. red\nB. blue\n")


def arxivqa(folder, picture, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "a.png").write_bytes(picture)
    row = {"id": "1", "image": "a.png", "options": ["A) x", "B) y"], "question": "which ?", "label": "B"}
    (folder / "arxivqa.jsonl").write_text(json.dumps(row | changes) + "\n")


@pytest.mark.parametrize("label", ["B", "B)", "B) y", "(B)", "y", " B. "])
def test_messy_labels_of_arxivqa(tmp_path, picture, label):
    arxivqa(tmp_path / "arxivqa", picture, label=label)
    (one,) = read_prompts(tmp_path, style="mini", cache=tmp_path / "cache")
    assert one.answer == "B" and one.text == "which ? A : x , B : y ."


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"label": "neither"}, "field 'label' names no option"),
        ({"label": "D"}, "field 'label' names no option"),
        ({"options": ["only one"]}, "field 'options' is not a list of two to five texts"),
        ({"image": "../../etc/passwd"}, "picture path leaves its folder"),
        ({"image": "b.png"}, "picture not found"),
        ({"question": None}, "field 'question' is missing or not text"),
    ],
)
def test_a_faulty_row_is_left_out_and_named(tmp_path, picture, changes, reason):
    arxivqa(tmp_path / "arxivqa", picture, **changes)
    with Quarantine(tmp_path / "q.jsonl") as notes:
        assert read_prompts(tmp_path, style="mini", cache=tmp_path / "cache", quarantine=notes) == []
    (line,) = map(json.loads, (tmp_path / "q.jsonl").read_text().splitlines())
    assert line["reason"] == reason and "arxivqa.jsonl, row 1" in line["origin"]


def test_deepeyes_rows_are_read(tmp_path, picture):
    row = {
        "prompt": [{"role": "system", "content": "s"}, {"role": "user", "content": "<image>\nwhich ?"}],
        "images": [{"bytes": picture, "path": None}],
        "reward_model": {"ground_truth": "B", "style": "model"},
        "data_source": "chart",
    }
    (tmp_path / "deepeyes_47k").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "deepeyes_47k" / "a.parquet")
    (one,) = read_prompts(tmp_path, style="vlmevalkit", cache=tmp_path / "cache")
    assert (one.text, one.answer) == ("which ?", "B")


@pytest.mark.parametrize("form", ["bytes", "base64", "uri", "record"])
def test_pictures_of_thinklite_come_in_every_form(tmp_path, picture, form):
    text = base64.b64encode(picture).decode()
    image = {
        "bytes": picture,
        "base64": text,
        "uri": f"data:image/png;base64,{text}",
        "record": {"bytes": picture},
    }
    row = {"image": image[form], "problem": "<image>which ?", "answer": "B"}
    (tmp_path / "thinklite_vl").mkdir()
    pq.write_table(pa.Table.from_pylist([row]), tmp_path / "thinklite_vl" / "a.parquet")
    (one,) = read_prompts(tmp_path, style="mini", cache=tmp_path / "cache")
    assert (one.text, one.answer, one.source) == ("which ?", "B", "thinklite_vl")
    assert one.label.endswith("a.parquet, row 1") and Path(one.images[0]).read_bytes() == picture


def test_no_folder_says_what_is_known(tmp_path):
    with pytest.raises(FileNotFoundError, match="v_star, arxivqa, thinklite_vl"):
        read_prompts(tmp_path, style="mini", cache=tmp_path)


def test_questions_survive_a_file(tmp_path):
    questions = [Question("was ?", (str(tmp_path / "a.png"),), "so", "set", "row 1"), Question("x", ())]
    path = write_questions(tmp_path / "q.jsonl", questions)
    assert read_questions(path) == questions
    path.write_text('{"text": "x"}\n')
    with pytest.raises(ValueError, match="row 1: not a question"):
        read_questions(path)


def test_written_prompts_name_nothing_of_where_they_lie(tmp_path, picture):
    """The same file, to the byte, wherever the run's folder lies."""
    written = []
    for place in ("here", "there/deep"):
        arxivqa(tmp_path / place / "world" / "lessons" / "arxivqa", picture)
        found = read_prompts(
            tmp_path / place / "world" / "lessons", style="mini", cache=tmp_path / place / "cache"
        )
        path = write_questions(tmp_path / place / "lessons.jsonl", found)
        written.append(path.read_bytes())
        (again,) = read_questions(path)
        assert Path(again.images[0]).read_bytes() == picture
    assert written[0] == written[1] and str(tmp_path).encode() not in written[0]
    assert again.label == "world/lessons/arxivqa/arxivqa.jsonl, row 1"
