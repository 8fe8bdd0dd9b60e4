import json
from collections import Counter
from pathlib import Path

from r1reward.data.quarantine import MAX_DETAIL, Quarantine, RefusedRow


def test_rows_are_counted_and_written_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "quarantine.jsonl"
    with Quarantine(path) as quarantine:
        for _ in range(2):
            quarantine.add("dropped", "povid", "a.json, row 1", "tie")
            quarantine.add("refused", "povid", "a.json, row 2", "not JSON", "not JSON: line 1")
        quarantine.add("dropped", "rlaif_v", "a.json, row 1", "tie")
    assert quarantine.counts["povid"] == {"dropped": Counter(tie=1), "refused": Counter({"not JSON": 1})}
    assert quarantine.total("rlaif_v", "dropped") == 1 and quarantine.total("rlaif_v", "refused") == 0
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["source"] for row in rows] == ["povid", "povid", "rlaif_v"]
    assert rows[1] == {
        "source": "povid",
        "kind": "refused",
        "origin": "a.json, row 2",
        "reason": "not JSON",
        "detail": "not JSON: line 1",
    }


def test_long_and_broken_text_is_written_short_and_whole(tmp_path: Path) -> None:
    with Quarantine(tmp_path / "q.jsonl") as quarantine:
        quarantine.add("refused", "povid", "\udcff.json, row 1", "picture not found", "x" * 100_000)
    line = (tmp_path / "q.jsonl").read_bytes()
    assert len(line) < MAX_DETAIL + 300
    assert json.loads(line)["detail"].endswith("… (100000 characters)")


def test_a_refusal_names_its_row() -> None:
    assert str(RefusedRow("a.json, row 3", "not JSON", "line 1")) == "a.json, row 3: line 1"
    assert str(RefusedRow("a.json, row 3", "not JSON")) == "a.json, row 3: not JSON"
