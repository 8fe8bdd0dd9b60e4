"""Agreement of cheaper tournaments, from lines by hand."""

import json

import pytest

from r1reward.files import write_atomic
from r1reward.report.downstream import tournaments_table
from r1reward.report.records import Records

RISING, FALLING, EQUAL = [0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2.5] * 6
TWO_BEST = [0, 1, 2, 3, 4.5, 4.5]


def write_seed(root, seed, full, swiss, asked=30):
    lines = [
        {"question": number, "pairing": pairing, "rounds": rounds, "comparisons": cost, "scores": scores}
        for pairing, rounds, cost, everything in (("all", 1, asked, full), ("swiss", 2, 12, swiss))
        for number, scores in enumerate(everything)
    ]
    path = root / "records" / "downstream" / "tournaments" / f"seed_{seed}.jsonl"
    write_atomic(path, "".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "synthetic"
    full, swiss = [RISING, RISING, TWO_BEST, RISING], [RISING, FALLING, TWO_BEST, EQUAL]
    write_seed(root, 0, full, swiss)
    write_seed(root, 1, [*full, RISING], [*swiss, FALLING])
    return root


def test_agreement_with_the_full_tournament(root):
    table = tournaments_table(Records.of_run(root)).set_index("tournament")
    assert table.index.tolist() == ["all meet all (paper)", "Swiss", "none (chance)"]
    shown = table[["comparisons", "share_of_full", "tau", "same_best"]]
    assert shown.loc["all meet all (paper)"].tolist() == ["30.0", "100", "100.00", "100.00"]
    # tau: 1, -1, 1 and 0 (all equal); best: the same, another, the two that share it, one of six.
    assert shown.loc["Swiss"].tolist() == ["12.0", "40", "25.00", f"{100 * (1 + 0 + 1 + 1 / 6) / 4:.2f}"]
    bounds = table[["tau_low", "tau_high", "same_best_low", "same_best_high"]]
    assert bounds.loc["all meet all (paper)"].tolist() == [""] * 4, "it agrees with itself by rule"
    assert bounds.loc["none (chance)"].tolist()[:2] == ["", ""] != bounds.loc["Swiss"].tolist()[:2]
    assert shown.loc["none (chance)"].tolist() == ["0.0", "0", "0.00", f"{100 * (3 / 6 + 2 / 6) / 4:.2f}"]
    assert set(table["seeds"]) == {"2"} and set(table["n"]) == {"4"}, "the fifth of seed 1 does not count"


def test_prompts_with_few_different_answers_do_not_count(root):
    write_seed(root, 0, [[0, 1, 2, 2, 2, 2]], [[0, 1, 2, 2, 2, 2]], asked=6)
    assert set(tournaments_table(Records.of_run(root))["seeds"]) == {"1"}
    write_seed(root, 1, [], [])
    (row,) = tournaments_table(Records.of_run(root)).to_dict("records")
    assert row["comparisons"] == "no prompt with six different answers"


def test_without_records_it_was_not_run(tmp_path):
    (row,) = tournaments_table(Records.of_run(tmp_path / "empty")).to_dict("records")
    assert row["comparisons"] == row["source"] == "not run"
