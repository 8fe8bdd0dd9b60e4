"""Agreement of cheaper tournaments, from lines by hand."""

import json

import pytest

from r1reward.files import write_atomic
from r1reward.report.records import Records
from r1reward.report.tournaments import tournaments_table


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "synthetic"
    swiss = [[1, 2, 3], [3, 2, 1], [1.5, 1.5, 0], [1, 1, 1], [0, 1, 2]]
    full = [[0, 1, 2], [0, 1, 2], [1.5, 1.5, 0], [0, 1, 2], [1, 1, 1]]
    lines = [
        {"question": number, "pairing": pairing, "rounds": rounds, "comparisons": asked, "scores": scores}
        for pairing, rounds, asked, everything in (("all", 1, 6, full), ("swiss", 2, 4, swiss))
        for number, scores in enumerate(everything)
    ]
    for seed in range(2):
        path = root / "records" / "downstream" / "tournaments" / f"seed_{seed}.jsonl"
        write_atomic(path, "".join(json.dumps(line) + "\n" for line in lines))
    return root


def test_agreement_with_the_full_tournament(root):
    table = tournaments_table(Records.of_run(root)).set_index("tournament")
    full, swiss = table.loc["all meet all (paper)"], table.loc["Swiss"]
    assert (full["comparisons"], full["share_of_full"], full["tau"], full["same_best"]) == (
        "6.0",
        "100",
        "100.00",
        "100.00",
    )
    # The full tournament says nothing of the last prompt.
    # tau: 1, -1, 1 and 0 (all equal); best: the same, another, the two that share it, one of three.
    assert (swiss["comparisons"], swiss["share_of_full"]) == ("4.0", "67")
    assert swiss["tau"] == "25.00" and swiss["same_best"] == f"{100 * (1 + 0 + 1 + 1 / 3) / 4:.2f}"
    assert (swiss["seeds"], swiss["n"]) == ("2", "4")


def test_without_records_it_was_not_run(tmp_path):
    assert set(tournaments_table(Records.of_run(tmp_path / "empty"))["source"]) == {"not run"}
