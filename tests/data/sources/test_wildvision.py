from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from r1reward.data.sources.wildvision import read


def _chat(*texts: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(texts)]


@pytest.fixture
def folder(tmp_path: Path, png: Callable[..., bytes]) -> Callable[..., Path]:
    def write(*battles: tuple[Sequence[Any], Sequence[Any], str | None]) -> Path:
        rows = [
            {
                "question_id": str(index),
                "conversation_a": first,
                "conversation_b": second,
                "winner": winner,
                "image": {"bytes": png(), "path": f"{index}.jpg"},
            }
            for index, (first, second, winner) in enumerate(battles)
        ]
        (tmp_path / "data").mkdir()
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "data" / "test-00000-of-00001.parquet")
        return tmp_path

    return write


def test_the_winner_is_the_chosen_response(folder: Callable[..., Path], collect: Callable[..., Any]) -> None:
    first, second = _chat("<image>\nWhat?", "A cat."), _chat("<image>\nWhat?", "A dog.")
    pairs, notes = collect(read, folder((first, second, "model_a"), (first, second, "model_b")))
    assert [pair.responses for pair in pairs] == [("A cat.", "A dog."), ("A dog.", "A cat.")]
    assert {(pair.question, pair.preferred) for pair in pairs} == {("What?", 1)}
    assert pairs[1].pair_id == "wildvision_battle-000001" and pairs[1].meta == {"image": "1.jpg"}
    assert not notes


def test_ties_are_dropped(folder: Callable[..., Path], collect: Callable[..., Any]) -> None:
    first, second = _chat("What?", "A cat."), _chat("What?", "A dog.")
    pairs, notes = collect(read, folder((first, second, "tie"), (first, second, "tie (bothbad)")))
    assert not pairs
    assert [(note["kind"], note["reason"]) for note in notes] == [
        ("dropped", "tie"),
        ("dropped", "tie (bothbad)"),
    ]


def test_a_shared_history_becomes_part_of_the_question(
    folder: Callable[..., Path], collect: Callable[..., Any]
) -> None:
    same = _chat("Hi", "Hello.", "What?", "A cat."), _chat("Hi", "Hello.", "What?", "A dog.")
    other = _chat("Hi", "Hello.", "What?", "A cat."), _chat("Hi", "Hey!", "What?", "A dog.")
    asked = _chat("What?", "A cat."), _chat("Who?", "A dog.")
    root = folder((*same, "model_a"), (*other, "model_a"), (*asked, "model_a"))
    (pair,), notes = collect(read, root)
    assert pair.question == "user: Hi\nassistant: Hello.\nuser: What?"
    assert pair.responses == ("A cat.", "A dog.")
    assert [note["reason"] for note in notes] == [
        "several turns with different histories",
        "different questions",
    ]


@pytest.mark.parametrize(
    ("first", "winner", "reason"),
    [
        (_chat("What?", "A cat."), "model_c", "field 'winner' names no model"),
        (_chat("What?", "A cat."), None, "field 'winner' is missing or not text"),
        (_chat("What?"), "model_a", "field 'conversation_a' is not a conversation"),
        ([], "model_a", "field 'conversation_a' is not a conversation"),
        (_chat("What?", "A cat.")[::-1], "model_a", "field 'conversation_a' is not a conversation"),
    ],
)
def test_other_rows_are_refused(
    first: Sequence[Any],
    winner: str | None,
    reason: str,
    folder: Callable[..., Path],
    collect: Callable[..., Any],
) -> None:
    good = _chat("What?", "A cat."), _chat("What?", "A dog."), "model_a"
    pairs, (note,) = collect(read, folder(good, (first, good[1], winner), good))
    assert [pair.pair_id[-1] for pair in pairs] == ["0", "2"]
    assert (note["kind"], note["reason"]) == ("refused", reason) and note["origin"].endswith("row 2")


def test_the_mini_world_has_ties_and_turns(world: Path, collect: Callable[..., Any]) -> None:
    pairs, notes = collect(read, world / "wildvision_battle")
    assert len(pairs) + len(notes) == 40
    assert {"tie", "tie (bothbad)"} <= {note["reason"] for note in notes}
    assert {note["kind"] for note in notes} == {"dropped"}
