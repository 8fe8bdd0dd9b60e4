"""What a note below a published table names is a row of that table."""

import csv
import json
import re
from pathlib import Path

import pytest

from r1reward.report.reasoning import steering
from r1reward.report.records import Records

# By table: words of its notes, and the column and beginning of the row that they speak of.
NAMED = {
    "table_05": {
        "the row without it": ("model", "Reinforce++ wo consistency reward"),
        "Reinforce++": ("model", "Reinforce++"),
        "REINFORCE,": ("model", "REINFORCE"),
        "PPO-clip": ("model", "PPO-clip without a critic"),
        "GRPO": ("model", "GRPO"),
    },
    "table_06": {
        "prints 10.00": ("clip_ratio", "10.00"),
        "may bound the log-ratio": ("clip_ratio", "|log ratio| <= 10"),
        "or the ratio": ("clip_ratio", "ratio <= 10"),
        "1e3 that this run uses": ("clip_ratio", "ratio <= 1000"),
    },
    "table_10": {
        "The weak annotator": ("annotator", "weak"),
        "the strong annotator": ("annotator", "strong"),
    },
    "table_13": {"the random judge": ("judge", "Random judge")},
    "extra_steering": {
        "answer tag:": ("attack", "answer tag"),
        "plea:": ("attack", "plea"),
        "control tokens:": ("attack", "control tokens"),
    },
    "extra_tournaments": {"the full tournament": ("tournament", "all meet all")},
    "extra_judge_behaviour": {"swapped": ("model", "StableReinforce")},
}


@pytest.mark.parametrize("table", NAMED)
def test_a_note_names_rows_that_are_there(repository: Path, table: str) -> None:
    folder = repository / "results" / "mini" / "tables"
    notes = (folder / f"{table}.md").read_text(encoding="utf-8").split("\n- ", 1)[1]
    with (folder / f"{table}.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for words, (column, name) in NAMED[table].items():
        assert words in notes, f"no note says {words!r} any more"
        assert any(row[column].replace("†", "").startswith(name) for row in rows), (words, name)


def test_the_note_on_steering_speaks_of_its_rows_alone(tmp_path: Path) -> None:
    folder = tmp_path / "records" / "steering" / "sft"
    folder.mkdir(parents=True)
    marks = {"none": "11", "plea": "01", "forged mark": "00", "neutral 2": "11"}
    controls = {"plea": "neutral 2", "forged mark": "neutral 2"}
    record = {"marks": marks, "controls": controls, "model": ""}
    (folder / "seed_0.json").write_text(json.dumps(record))
    notes = " ".join(steering(Records.of_run(tmp_path)).attrs["notes"])
    assert set(re.findall(r"(answer tag|control tokens|forged mark|plea):", notes)) == {"plea", "forged mark"}
    assert "The control is" in notes and "hardened" not in notes and "Fenced" not in notes
