import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from r1reward.data.sources.vl_feedback import mean_rating, read

ASPECTS = ("Helpfulness", "Ethical Considerations", "Visual Faithfulness")


def _completion(response: str, ratings: Sequence[str]) -> dict[str, Any]:
    annotations = {
        aspect: {"Rating": rating, "Rationale": "because"}
        for aspect, rating in zip(ASPECTS, ratings, strict=True)
    }
    return {"annotations": annotations, "model": f"model of {response}", "response": response}


def _row(completions: Any, **changes: object) -> dict[str, Any]:
    return {
        "id": "svit-1",
        "prompt": "What is it?",
        "models": ["a", "b"],
        "completions": completions,
        "img_path": "merged_images/a.jpg",
        **changes,
    }


@pytest.fixture
def folder(tmp_path: Path, png: Callable[..., bytes]) -> Callable[..., Path]:
    (tmp_path / "merged_images").mkdir()
    (tmp_path / "merged_images" / "a.jpg").write_bytes(png())

    def write(*rows: Any) -> Path:
        (tmp_path / "vlfeedback_80k.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path

    return write


def test_mean_rating_leaves_out_what_does_not_apply() -> None:
    assert mean_rating(_completion("a", ("5", "N/A", "4")), "") == 4.5
    assert mean_rating(_completion("a", ("N/A", "N/A", "N/A")), "") is None


def test_the_best_response_is_paired_with_a_worse_one(folder: Callable[..., Path]) -> None:
    completions = [
        _completion("poor", ("2", "5", "2")),
        _completion("best", ("5", "5", "5")),
        _completion("unrated", ("N/A", "N/A", "N/A")),
        _completion("good", ("4", "5", "5")),
    ]
    pairs = list(read(folder(*[_row(completions)] * 40)))
    assert {pair.responses[0] for pair in pairs} == {"best"} and {pair.preferred for pair in pairs} == {1}
    assert {pair.responses[1] for pair in pairs} == {"poor", "good"}
    again = list(read(folder(*[_row(completions)] * 40)))
    assert [pair.responses for pair in again] == [pair.responses for pair in pairs]


def test_equal_best_responses_are_never_paired_with_each_other(folder: Callable[..., Path]) -> None:
    completions = [_completion(text, (rating,) * 3) for text, rating in (("x", "4"), ("y", "4"), ("z", "1"))]
    pairs = list(read(folder(*[_row(completions)] * 40)))
    assert {pair.responses for pair in pairs} == {("x", "z"), ("y", "z")}


def test_rows_without_a_pair_are_dropped(folder: Callable[..., Path], collect: Callable[..., Any]) -> None:
    root = folder(
        _row([_completion("a", ("3", "3", "3")), _completion("b", ("N/A", "3", "3"))]),
        _row([_completion("a", ("3", "3", "3")), _completion("b", ("N/A", "N/A", "N/A"))]),
        _row([_completion("a", ("3", "3", "3")), _completion("a", ("1", "3", "3"))]),
        _row([_completion("a", ("3", "3", "3")), _completion("b", ("1", "3", "3"))], prompt=""),
        _row([_completion("a", ("3", "3", "3")), _completion("b", ("1", "3", "3"))]),
    )
    pairs, notes = collect(read, root)
    assert [pair.pair_id for pair in pairs] == ["vl_feedback-000004"]
    assert [(note["kind"], note["reason"]) for note in notes] == [
        ("dropped", "tie"),
        ("dropped", "fewer than two rated responses"),
        ("dropped", "identical responses"),
        ("dropped", "empty question"),
    ]


def test_a_record_of_lists_is_read_like_a_list_of_records(folder: Callable[..., Path]) -> None:
    completions = [_completion("a", ("3", "3", "3")), _completion("b", ("1", "3", "3"))]
    columns = {key: [entry[key] for entry in completions] for key in completions[0]}
    (pair,) = read(folder(_row(columns, img_path=None, image="a.jpg") | {"img_path": "a.jpg"}))
    assert pair.responses == ("a", "b")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"completions": None}, "field 'completions'"),
        ({"completions": [{"response": "a"}, {"response": "b"}]}, "expected an object"),
        ({"completions": [{"response": "a"}, 5]}, "expected an object"),
        ({"completions": {"response": ["a"], "annotations": []}}, "different lengths"),
        ({"completions": [_completion("a", (float("nan"), "3", "3"))]}, "field 'Rating'"),  # type: ignore[arg-type]
        ({"completions": [_completion("a", (5, "3", "3"))]}, "field 'Rating'"),  # type: ignore[arg-type]
        ({"img_path": "/etc/passwd"}, "leaves the folder"),
        ({"prompt": 3}, "field 'prompt'"),
    ],
)
def test_faulty_rows_are_refused_and_the_rest_is_kept(
    change: dict[str, Any], message: str, folder: Callable[..., Path], collect: Callable[..., Any]
) -> None:
    good = _row([_completion("a", ("3", "3", "3")), _completion("b", ("1", "3", "3"))])
    pairs, (note,) = collect(read, folder(good, good | change, good))
    assert [pair.pair_id for pair in pairs] == ["vl_feedback-000000", "vl_feedback-000002"]
    assert note["kind"] == "refused" and note["origin"].endswith("vlfeedback_80k.jsonl, row 2")
    assert message in note["detail"]


def test_the_mini_world_gives_a_pair_a_row(world: Path) -> None:
    assert len(list(read(world / "vl_feedback"))) == 40
