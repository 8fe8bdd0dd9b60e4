"""Blind rating: nothing shown names a judge, choices survive, outcomes are read the right way round."""

import json

import pytest
from PIL import Image

from r1reward.rating import (
    CORRECTED,
    LEARNT,
    Ratings,
    RatingWidget,
    choose_examples,
    corrects_itself,
    count_corrections,
    item_html,
    make_items,
    outcome_lines,
    rate_by_script,
    read_texts,
)
from r1reward.types import PreferencePair


@pytest.fixture
def pairs(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    made = (str(tmp_path / "a.png"),)
    return [
        PreferencePair(
            f"p{row}",
            "s",
            f"question {row} ?",
            ("one", "two"),
            1,
            made,
            meta={"row": row},
        )
        for row in range(20)
    ]


def say(reasoning, digit):
    return f"<think>{reasoning} response {digit} is better .</think><answer>{digit}</answer>"


@pytest.fixture
def texts():
    ours = {row: say(f"ours {row}", 1) for row in range(20)}
    return ours, {row: say(f"theirs {row}", 2) for row in range(20)}


def test_sides_are_drawn_and_answers_are_cut_off(pairs, texts):
    items = make_items(pairs, *texts, count=20, seed=0, rater="ann")
    assert {item.ours for item in items} == {"a", "b"}
    for item in items:
        assert ("ours" in item.reasonings[0]) == (item.ours == "a")
        shown = item_html(item)
        assert "&lt;answer&gt;" not in shown and "stable" not in shown
    other = make_items(pairs, *texts, count=20, seed=0, rater="bob")
    assert make_items(pairs, *texts, count=20, seed=0, rater="ann") == items != other
    assert {item.item_id for item in items} == {item.item_id for item in other}
    assert make_items(pairs, *texts, count=5, seed=1, rater="ann") != items[:5]


def test_outcomes_are_r1_reward_s(pairs, texts, tmp_path):
    items = make_items(pairs, *texts, count=4, seed=0, rater="ann")
    ratings = Ratings(tmp_path / "r.jsonl")
    for item, side in zip(items, ("a", "b", "tie"), strict=False):
        ratings.add(item, side)
    expected = ["win" if items[0].ours == "a" else "loss", "win" if items[1].ours == "b" else "loss", "tie"]
    lines = outcome_lines(items, Ratings(tmp_path / "r.jsonl"), rater="ann")
    found = {line["item"]: line["outcome"] for line in lines}
    assert [found[item.item_id] for item in items[:3]] == expected and len(lines) == 3
    with pytest.raises(ValueError, match="a, b, tie"):
        ratings.add(items[0], "win")  # type: ignore[arg-type]


def test_the_widget_saves_each_choice_and_goes_on_where_it_stopped(pairs, texts, tmp_path):
    items = make_items(pairs, *texts, count=3, seed=0, rater="ann")
    path = tmp_path / "ratings" / "r.jsonl"
    widget = RatingWidget(items, Ratings(path))
    widget.buttons["a"].click()
    widget.buttons["tie"].click()
    assert len(path.read_text().splitlines()) == 2
    with path.open("a") as stream:
        stream.write('{"item": "half')
    again = RatingWidget(items, Ratings(path))
    assert again.place == 2 and "2 of 3 rated" in again.progress.value
    again.back.click()
    again.buttons["b"].click()
    again.buttons["b"].click()
    assert again.buttons["a"].disabled and "All items are rated" in again.shown.value
    assert [Ratings(path).choices[item.item_id] for item in items] == ["a", "b", "b"]


def test_markup_in_a_reasoning_stays_text(pairs, texts):
    ours, theirs = texts
    evil = {row: say("<script>alert(1)</script>", 1) for row in ours}
    (item,) = make_items(pairs, evil, theirs, count=1, seed=0, rater="ann")
    assert "<script>" not in item_html(item) and "&lt;script&gt;" in item_html(item)


def test_scripted_raters_mostly_see_who_is_right(pairs, texts, tmp_path):
    items = make_items(pairs, *texts, count=20, seed=0, rater="ann")
    outcomes = []
    for seed in range(3):
        ratings = Ratings(tmp_path / f"{seed}.jsonl")
        rate_by_script(items, ratings, *texts, seed=seed)
        rate_by_script(items, ratings, *texts, seed=seed)
        assert len(ratings.path.read_text().splitlines()) == 20
        outcomes += [ratings.outcome(item) for item in items]
    assert outcomes.count("win") > 40 and len(set(outcomes)) > 1


def test_texts_of_the_given_order(tmp_path):
    lines = [{"row": 3, "order": order, "text": order} for order in ("given", "swapped")]
    (tmp_path / "t.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert read_texts(tmp_path / "t.jsonl") == {3: "given"}


@pytest.mark.parametrize(
    ("reasoning", "found"),
    [
        ("Wait, the ring is red.", True),
        ("Let me recheck the picture.", True),
        ("ring red : 1 red right , 2 blue wrong . ring blue : 1 red wrong , 2 blue right .", True),
        ("ring red : 1 red right , 2 blue wrong . star blue : 1 blue right , 2 red wrong .", False),
        ("the waiter waits", False),
    ],
)
def test_self_corrections(reasoning, found):
    assert corrects_itself(f"<think>{reasoning}</think><answer>1</answer>") is found
    assert not corrects_itself("<think>x</think><answer>1</answer> wait")


def test_examples_are_chosen_by_the_rule(pairs):
    right = {
        (row, order): say("so", digit) for row in range(20) for order, digit in (("given", 1), ("swapped", 2))
    }
    wrong = {(row, order): say("so", 3 - int(text[-10])) for (row, order), text in right.items()}
    right[7, "given"] = say("wait , no .", 1)
    before = right | {key: text for key, text in wrong.items() if key[0] in (4, 5)}
    first, second = choose_examples(pairs, right, before)
    assert (first["question"], first["chosen"]) == ("question 7 ?", CORRECTED)
    assert (second["question"], second["chosen"]) == ("question 4 ?", LEARNT)
    assert count_corrections([right, before]) == {"outputs": 80, "corrected": 2}
