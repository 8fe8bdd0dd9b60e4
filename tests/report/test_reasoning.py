"""Table 9 and the examples, from ratings by hand."""

import base64
import io
import json

import numpy as np
import pytest
from PIL import Image

from r1reward.files import write_atomic, write_json
from r1reward.report.reasoning import (
    agreement,
    figure_examples,
    ratings_matrix,
    self_corrections,
    table_09,
)
from r1reward.report.records import Records


def rate(root, kind, outcomes):
    """`outcomes` has a string of w, l and t for each rater, one letter an item."""
    names = {"w": "win", "l": "loss", "t": "tie"}
    lines = [
        {"item": f"i{item}", "rater": f"r{rater}", "outcome": names[mark]}
        for rater, marks in enumerate(outcomes)
        for item, mark in enumerate(marks)
        if mark != "-"
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_atomic(root / "records" / "reasoning" / f"{kind}.jsonl", text)


@pytest.fixture
def root(tmp_path):
    return tmp_path / "synthetic"


def test_shares_are_counted_over_items_and_raters(root):
    rate(root, "people", ["wwwl", "wwtl", "wwwt"])
    table = table_09(Records.of_run(root)).set_index("source")
    row = table.loc["measured"]
    assert (row["win_percent"], row["loss_percent"], row["tie_percent"]) == ("66.67", "16.67", "16.67")
    assert (row["raters"], row["n"]) == ("3", "4")
    assert table.loc["not run"]["win_percent"] == "not run"
    assert table.loc["paper"]["win_percent"] == "72.5%"


def test_an_item_that_a_rater_left_out_does_not_count(root):
    rate(root, "people", ["ww-l", "wwll"])
    matrix = ratings_matrix(Records.of_run(root), "people")
    assert matrix is not None and matrix.tolist() == [[0, 0, 1], [0, 0, 1]]


def test_agreement_is_krippendorff_s_alpha():
    same = np.array([[0, 1, 2, 0]] * 3)
    assert agreement(same) == 1.0
    assert np.isnan(agreement(same[:1])) and np.isnan(agreement(np.zeros((3, 4), int)))
    # Two raters, four items, one disagreement, by hand: the disagreement seen is 2/8; expected of the eight
    # values 0 x 4, 1 x 3, 2 x 1: 2 * (4 * 3 + 4 * 1 + 3 * 1) / (8 * 7).
    two = np.array([[0, 0, 1, 1], [0, 0, 1, 2]])
    assert agreement(two) == pytest.approx(1 - (2 / 8) / (2 * 19 / 56))


def test_scripted_raters_are_labelled(root):
    rate(root, "scripted", ["wl", "wt"])
    table = table_09(Records.of_run(root)).set_index("source")
    assert "scripted raters" in table.loc["scripted"]["model"]
    assert table.loc["not run"]["model"].endswith("rated by people")


def test_examples_and_their_frequency_are_drawn(root):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(buffer, "PNG")
    example = {"question": "was ?", "responses": ["a", "b"], "preferred": 1, "text": "<think>so</think>"}
    example |= {"chosen": "corrects itself", "picture": base64.b64encode(buffer.getvalue()).decode()}
    counts = {"sft": {"outputs": 1200, "corrected": 3}}
    write_json(root / "records/reasoning/examples.json", {"counts": counts, "examples": [example]})
    records = Records.of_run(root)
    texts = [text.get_text() for axes in figure_examples(records, 0).axes for text in axes.texts]
    assert any("Response 2: b" in text for text in texts)
    missing = [text.get_text() for axes in figure_examples(records, 1).axes for text in axes.texts]
    assert set(missing) == {"not run"}
    assert self_corrections(records).iloc[0].tolist()[1:3] == ["1,200", "3"]
