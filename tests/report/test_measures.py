"""What decides the claims, beside numbers by hand."""

from pathlib import Path

import pytest

from r1reward.report.measures import reasoning_preferred
from r1reward.report.records import Records


def test_reasoning_is_preferred_by_those_that_win_less_those_that_lose(empty_root: Path, write_jsonl) -> None:
    """By people only, over the items that all of them have rated; a tie is neither."""
    said = {"a": "win win win tie loss", "b": "win loss tie tie win"}
    rated = [(rater, enumerate(outcomes.split())) for rater, outcomes in said.items()]
    lines = [
        {"rater": who, "item": item, "outcome": outcome} for who, each in rated for item, outcome in each
    ]
    lines.append({"rater": "a", "item": 99, "outcome": "win"})
    write_jsonl(empty_root / "records/reasoning/scripted.jsonl", lines)
    assert reasoning_preferred(Records.of_run(empty_root)) is None
    write_jsonl(empty_root / "records/reasoning/people.jsonl", lines)
    measured = reasoning_preferred(Records.of_run(empty_root))
    assert measured is not None and measured.interval is not None
    assert measured.interval.estimate == pytest.approx(100 * (5 - 2) / 10)
    assert measured.interval.low < 30 < measured.interval.high
