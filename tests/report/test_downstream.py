"""Table 11 from records by hand."""

import json
import shutil

import pytest

from r1reward.benchmarks import DOWNSTREAM_COLUMNS, OPEN_COLUMNS
from r1reward.files import write_atomic
from r1reward.report.claims import check, read_claims
from r1reward.report.curves import figure_downstream_training
from r1reward.report.downstream import (
    differences,
    downstream_differences,
    linearised,
    read_columns,
    table_11,
)
from r1reward.report.figures import figure_downstream
from r1reward.report.records import Records

UNITS = 20


def answer(root, policy, seed, right, columns=tuple(DOWNSTREAM_COLUMNS)):
    """The first `right` of the units of every column are right."""
    lines = [
        {"points": float(unit < right), "units": {column: f"{unit:02d}"}}
        | ({"scripted": True} if column in OPEN_COLUMNS else {})
        for column in columns
        for unit in range(UNITS)
    ]
    folder = root / "records" / "downstream" / policy / f"seed_{seed}"
    write_atomic(folder / "all.jsonl", "".join(json.dumps(line) + "\n" for line in lines))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "synthetic"
    for seed in range(3):
        answer(root, "start", seed, 10 + seed)
        answer(root, "trained", seed, 14 + seed)
    return root


def test_columns_are_means_over_units_and_seeds(root):
    answer(root, "start_sampled", 0, 3)
    table = table_11(Records.of_run(root))
    assert set(table["mathvista"]) == {"not printed", "not run"}
    assert table.set_index("model").loc["Ours"]["mmstar"] == "56.53"
    rows = table.set_index(["model", "decoding"])
    assert rows.loc["Policy before", "greedy"]["mmstar"] == "55.00"
    assert rows.loc["Policy before", "sampled, temperature 1"]["mmstar"] == "15.00"
    assert rows.loc["Policy trained by R1-Reward†", "greedy"]["wildvision"] == "75.00 ◐"
    assert rows.loc["Policy trained by R1-Reward†", "sampled, temperature 1"]["mmstar"] == "not run"


def test_differences_are_of_the_seeds_that_both_policies_have(root):
    for policy, seeds in (("start_sampled", {0: 2, 1: 10, 2: 7}), ("trained_sampled", {1: 11, 2: 13, 3: 20})):
        for seed, right in seeds.items():
            answer(root, policy, seed, right)
    found = differences(Records.of_run(root), mode="sampled")
    assert found["mmstar"].estimate == pytest.approx(((11 - 10) + (13 - 7)) / 2 / UNITS)


def test_differences_are_paired_and_averaged(root):
    found = differences(Records.of_run(root))
    assert set(found) == {*DOWNSTREAM_COLUMNS, "measured", "mean"}
    for interval in found.values():
        assert interval.estimate == pytest.approx(0.2) and 0 < interval.low < 0.2 < interval.high
    assert found["mean"].high - found["mean"].low < found["mmstar"].high - found["mmstar"].low
    table = downstream_differences(Records.of_run(root)).set_index("column")
    assert table.loc["MMStar"]["paper"] == "+0.43" and table.loc["WildVision"]["source"] == "scripted"
    assert table.loc["mean of the ten columns"]["source"] == "scripted"
    assert table.loc["mean of the columns without a script"]["source"] == "measured"
    assert (table.loc["MMStar"]["greedy"], table.loc["MMStar"]["sampled"]) == ("20.00", "not run")
    for seed in range(3):
        answer(root, "start_sampled", seed, 10)
        answer(root, "trained_sampled", seed, 9)
    table = downstream_differences(Records.of_run(root)).set_index("column")
    assert (table.loc["MMStar"]["greedy"], table.loc["MMStar"]["sampled"]) == ("20.00", "-5.00")


def test_without_open_questions_there_is_no_mean(root):
    columns = tuple(DOWNSTREAM_COLUMNS)[:-2]
    for policy in ("start", "trained"):
        for seed in range(3):
            answer(root, policy, seed, 10, columns)
    assert set(differences(Records.of_run(root))) == set(columns)
    assert table_11(Records.of_run(root)).iloc[-1]["llava_wild"] == "not run"


def test_other_questions_a_seed_are_refused(root):
    answer(root, "start", 1, 10, tuple(DOWNSTREAM_COLUMNS)[:1])
    lines = [{"points": 1.0, "units": {"mmstar": f"x{unit}"}} for unit in range(UNITS)]
    file = root / "records/downstream/start/seed_1/all.jsonl"
    write_atomic(file, "".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(ValueError, match="start, mmstar: the seeds did not answer the same questions"):
        table_11(Records.of_run(root))


def test_only_seeds_of_both_policies_are_compared(root):
    shutil.rmtree(root / "records/downstream/trained/seed_1")
    assert differences(Records.of_run(root))["mmstar"].estimate == pytest.approx(0.2)
    for seed in (0, 2):
        shutil.rmtree(root / f"records/downstream/trained/seed_{seed}")
    answer(root, "trained", 7, 14)
    assert differences(Records.of_run(root)) == {}


def test_what_belongs_together_is_one_item(tmp_path):
    """Four units in two groups: values of the groups whose mean is the column's."""
    points = [1.0, 1.0, 1.0, 0.0]
    for policy in ("start", "trained"):
        lines = [
            {"points": value, "units": {"mmstar": str(unit)}, "group": "ab"[unit // 3]}
            for unit, value in enumerate(points)
        ]
        file = tmp_path / "synthetic" / "records" / "downstream" / policy / "seed_0" / "MMStar.jsonl"
        write_atomic(file, "".join(json.dumps(line) + "\n" for line in lines))
    column = read_columns(Records.of_run(tmp_path / "synthetic"), "start")["mmstar"]
    # 0.75 + 2 groups / 4 units * (3 * 0.25), and 0.75 + 2 / 4 * -0.75
    assert linearised([column]).tolist() == [[pytest.approx(1.125), pytest.approx(0.375)]]


def test_the_claims_are_about_the_mean_and_the_smallest_gain(root):
    entries = {
        claim.name: check(claim, Records.of_run(root))
        for claim in read_claims()
        if claim.section in ("C.7", "C.9")
    }
    assert entries["downstream_gain"].verdict == "holds" and entries["downstream_gain"].seeds == 3
    assert entries["downstream_gain_sampled"].verdict == "not run"
    answer(root, "start_sampled", 0, 14)
    answer(root, "trained_sampled", 0, 6)
    found = {
        claim.name: check(claim, Records.of_run(root))
        for claim in read_claims()
        if claim.section in ("C.7", "C.9")
    }
    assert found["downstream_gain"] == entries["downstream_gain"]
    sampled = found["downstream_gain_sampled"]
    assert (sampled.verdict, sampled.seeds) == ("does not hold", 1) and sampled.measured == pytest.approx(-40)
    everywhere = entries["downstream_everywhere"]
    assert everywhere.measured == pytest.approx(20) and "10 of 10 columns gained" in everywhere.note
    each = differences(Records.of_run(root))
    assert everywhere.low < 100 * min(each[name].low for name in DOWNSTREAM_COLUMNS), "ten are looked at"
    assert entries["reasoning_preferred"].verdict == "not run"


def test_nothing_run_says_so(tmp_path):
    records = Records.of_run(tmp_path / "synthetic")
    assert set(table_11(records).iloc[-1][list(DOWNSTREAM_COLUMNS)]) == {"not run"}
    for figure in (figure_downstream(records), figure_downstream_training(records)):
        assert "not run" in [text.get_text() for axes in figure.axes for text in axes.texts]
