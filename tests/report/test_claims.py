import glob
import json
import os
import shutil
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from r1reward.report.claims import (
    Claim,
    check,
    claims_table,
    judge_interval,
    ledger,
    named_differences,
    parse_claims,
    read_claims,
)
from r1reward.report.columns import compare
from r1reward.report.measures import (
    IDENTICAL_NOTE,
    MEASURES,
    ONE_SEED_NOTE,
    Measured,
    change,
    collapses,
    collapses_alone,
    contradictions,
    difference,
)
from r1reward.report.paper import paper_difference
from r1reward.report.records import Records
from r1reward.stats import Interval

CLAIMS = read_claims()
BY_NAME = {claim.name: claim for claim in CLAIMS}


@pytest.mark.parametrize(
    ("low", "high", "direction", "bound", "verdict"),
    [
        (0.1, 2.0, "above", 0.0, "holds"),
        (-0.1, 2.0, "above", 0.0, "undecided"),
        (-2.0, -0.1, "above", 0.0, "does not hold"),
        (0.0, 2.0, "above", 0.0, "undecided"),
        (-2.0, -0.1, "below", 0.0, "holds"),
        (0.1, 2.0, "below", 0.0, "does not hold"),
        (-20.0, -6.0, "below", -5.0, "holds"),
        (-4.0, 1.0, "below", -5.0, "does not hold"),
        (-6.0, 1.0, "below", -5.0, "undecided"),
        (-1.0, 1.0, "within", 1.0, "holds"),
        (-1.1, 1.0, "within", 1.0, "undecided"),
        (-3.0, 0.5, "within", 1.0, "undecided"),
        (-0.5, 3.0, "within", 1.0, "undecided"),
        (1.1, 2.0, "within", 1.0, "does not hold"),
        (-3.0, -1.2, "within", 1.0, "does not hold"),
    ],
)
def test_verdicts_follow_from_the_interval(low, high, direction, bound, verdict) -> None:
    assert judge_interval(Interval((low + high) / 2, low, high), direction, bound) == verdict


def test_a_difference_is_the_paired_one_in_points(records: Records) -> None:
    found = difference(records, model="stable_reinforce", minus="sft")
    expected = compare(records, "sft", "stable_reinforce", "greedy")
    assert found and found.interval and expected
    assert found.interval.estimate == pytest.approx(100 * expected.estimate)
    assert found.seeds == 3


def test_one_seed_is_told_and_a_line_says_what_it_could_have_found(records: Records, run_root: Path) -> None:
    claim = BY_NAME["rl_above_sft"]
    entry, expected = check(claim, records), compare(records, "sft", "stable_reinforce", "greedy")
    assert expected and expected.detectable and entry.measured and entry.high and entry.detectable
    assert entry.detectable == pytest.approx(100 * expected.detectable, abs=1e-6)
    assert entry.detectable > entry.high - entry.measured and ONE_SEED_NOTE not in entry.note
    for folder in run_root.glob("records/bench/*/*/seed_[12]"):
        shutil.rmtree(folder)
    alone = check(claim, Records.of_run(run_root))
    assert alone.seeds == 1 and ONE_SEED_NOTE in alone.note


def test_the_ledger_counts_the_claims_on_a_table(records: Records) -> None:
    """Each claim names its table, and the tables of several claims stand in a note."""
    frame = claims_table(ledger(records, CLAIMS[:1]), profile=records.profile)
    (note,) = [note for note in frame.attrs["notes"] if "rest on one table" in note]
    on_judges = [claim.name for claim in CLAIMS if claim.rests_on == "Table 13"]
    assert on_judges == ["weaker_judge", "noisy_judge", "random_judge"] and "3 on Table 13" in note
    assert "Table 9" not in note and all(claim.rests_on for claim in CLAIMS)


def test_a_variant_that_never_acted_is_not_testable_and_says_why(records: Records) -> None:
    entry = check(BY_NAME["pre_clip_needed"], records)
    assert (entry.verdict, entry.measured, entry.note) == ("not testable", None, IDENTICAL_NOTE)


def test_without_records_nothing_has_a_verdict(empty_root: Path) -> None:
    entries = ledger(Records.of_run(empty_root), CLAIMS)
    assert {entry["verdict"] for entry in entries} == {"not run"}
    assert {entry["measured"] for entry in entries} == {None}


def test_a_change_is_relative_and_over_seeds(run_root: Path, write_jsonl) -> None:
    for seed, last in ((0, 9.0), (1, 8.0)):
        rows = [{"step": step, "response_length": 10.0 if step < 5 else 100.0} for step in range(10)]
        # Each run has an end of its own: one may have collapsed early.
        rows += [{"step": step, "response_length": last} for step in range(10, 15 + 10 * seed)]
        write_jsonl(run_root / f"records/rl/made_up/seed_{seed}/metrics.jsonl", rows)
    found = change(Records.of_run(run_root), variant="made_up", column="response_length")
    assert found and found.interval and found.seeds == 2
    interval, half = found.interval, 12.7062 * 5  # Student's t of one degree of freedom, standard error 5
    assert (interval.estimate, interval.low, interval.high) == pytest.approx((-15, -15 - half, -15 + half))


def test_contradictions_are_compared_over_the_run(run_root: Path, write_jsonl) -> None:
    for name, share, seeds in (("one", 0.1, (0, 1)), ("other", 0.4, (1, 0, 2))):
        for seed in seeds:
            rows = [{"step": step, "contradicted_share": 2 * share * (step < 10)} for step in range(20)]
            write_jsonl(run_root / f"records/rl/{name}/seed_{seed}/metrics.jsonl", rows)
    found = contradictions(Records.of_run(run_root), variant="one", minus="other")
    assert found and found.interval and found.interval.high == pytest.approx(-30)


def test_one_seed_has_no_interval_over_seeds(run_root: Path, write_jsonl) -> None:
    rows = [{"step": step, "response_length": 10.0 - step} for step in range(10)]
    write_jsonl(run_root / "records/rl/lonely/seed_0/metrics.jsonl", rows)
    found = change(Records.of_run(run_root), variant="lonely", column="response_length")
    assert found and found.interval is None and "one seed" in found.note


def test_a_setting_chosen_by_collapses_says_nothing_about_their_number(run_root: Path, stress: dict) -> None:
    (run_root / "records" / "stress.json").write_text(json.dumps(stress))
    measured = collapses(Records.of_run(run_root), variant="reinforce_pp")
    assert measured and measured.interval is None and measured.seeds == 5
    assert "Reinforce++ collapsed on 5 of 5 fresh seeds, StableReinforce collapsed on 1 of 5" in measured.note
    assert "(hard), chosen by collapses on other seeds" in measured.note


@pytest.mark.parametrize(
    ("theirs", "ours", "expected"),
    [
        ([1] * 6, [0] * 6, (1.0, 0.5407419, 1.0)),
        ([1, 1, 1, 1, 0, 1], [1, 0, 0, 0, 1, 1], (0.75, 0.1941205, 0.9936905)),
        ([0] * 5, [1] * 5, (0.0, 0.0, 0.5218238)),
        ([1] * 6, [1] * 6, None),
    ],
)
def test_who_collapses_where_the_other_does_not(
    run_root: Path, stress: dict, theirs: list[int], ours: list[int], expected: tuple[float, ...] | None
) -> None:
    """Seeds on which both collapse, or neither, say nothing about which is steadier."""
    stress["fresh"]["reinforce_pp"]["collapsed"] = theirs
    stress["fresh"]["stable_reinforce"]["collapsed"] = ours
    (run_root / "records" / "stress.json").write_text(json.dumps(stress))
    measured = collapses_alone(Records.of_run(run_root), variant="reinforce_pp")
    assert measured
    found = measured.interval and (measured.interval.estimate, measured.interval.low, measured.interval.high)
    assert found == (expected and pytest.approx(expected, abs=1e-6))
    alone = sum(one != other for one, other in zip(theirs, ours, strict=True))
    assert measured.note.startswith(f"on {alone} of {len(theirs)} fresh seeds one alone collapsed")


def test_a_printed_number_is_the_centre_of_a_claim(records: Records) -> None:
    claim = Claim(
        "c", "1", "q", "s", "within", lambda _: Measured(Interval(76, 75, 77), 3), bound=5, centre=35
    )
    entry = check(claim, records)
    assert (entry.direction, entry.measured, entry.verdict) == ("within ±5 of 35", 76, "does not hold")


def test_the_papers_number_stands_beside_ours(records: Records) -> None:
    made_up = Claim("c", "1", "q", "s", "above", lambda _: Measured(Interval(1, 0.5, 2), 3), note="n")
    for printed, note in ((1.5, "n"), (-3.0, "n; the paper's number lies outside")):
        entry = check(replace(made_up, printed=printed), records)
        assert (entry.verdict, entry.printed, entry.note) == ("holds", printed, note)


def test_a_printed_difference_is_between_two_rows() -> None:
    weight = [{"consistency_weight": name} for name in ("external", "0.50")]
    assert paper_difference(7, *weight) == pytest.approx(56.60 - 71.44)
    with pytest.raises(ValueError, match="2 rows of table 5"):
        paper_difference(5, {"model": "MM-RLHF-Reward"}, {"model": "StableReinforce"})
    with pytest.raises(ValueError, match="general"):
        paper_difference(13, {"best_weight": "0.25"}, {"best_weight": "0.0"}, columns=["general"])


def test_every_printed_difference_can_be_read() -> None:
    printed = {claim.name: claim.printed for claim in CLAIMS if claim.printed is not None}
    assert len(printed) == 13 and printed["rl_above_sft"] == pytest.approx(7.12)
    assert printed["weaker_annotator"] == round(-named_differences()["slight"], 6)


FAULTS = [
    ('measure = "difference"', 'measure = "diffrence"', "diffrence"),
    ("minus = \"sft\" }", "minus = \"sft\", until = 3 }", "until"),
    ('model = "stable_reinforce", ', "", "model"),
    ('direction = "above"', 'direction = "upwards"', "upwards"),
    ('printed = { table = 5, of = { model = "StableReinforce" }',
     'printed = { table = 5, of = { model = "StableReinforced" }', "0 rows of table 5"),
    ('name = "rl_above_sft"', 'name = "rl_above_sft"\nbound = "tiny"', "tiny"),
    ('name = "rl_above_sft"', 'name = "rl_above_sft"\ntittle = "x"', "tittle"),
    ('rests_on = "Table 5"\n', "", "rests_on"),
]  # fmt: skip


@pytest.mark.parametrize(("right", "wrong", "named"), FAULTS)
def test_a_fault_of_a_claim_is_refused_when_it_is_read(right: str, wrong: str, named: str) -> None:
    text = files("r1reward.report").joinpath("claims.toml").read_text(encoding="utf-8")
    assert right in text.split("[[claim]]")[1]
    with pytest.raises(ValueError, match=rf"claim rl_above_sft: .*{named}"):
        parse_claims(text.replace(right, wrong, 1))


def test_every_measure_decides_a_claim() -> None:
    assert {claim.measure.func.__name__ for claim in CLAIMS} == set(MEASURES)  # type: ignore[attr-defined]


def test_the_spread_of_policy_losses_has_no_verdict(records: Records) -> None:
    entry = check(BY_NAME["stable_loss"], records)
    assert entry.verdict == "not testable" and "not comparable" in entry.note


def test_the_table_shows_every_claim_once(records: Records) -> None:
    frame = claims_table(ledger(records, CLAIMS), profile=records.profile)
    assert len(frame) == len(CLAIMS) == len({claim.name for claim in CLAIMS}) >= 30
    interval = Interval(1.0, float(np.nextafter(0, 1)), 2.0)
    made_up = Claim("c", "1", "q", "s", "above", lambda _: Measured(interval, 3))
    (row,) = claims_table(ledger(records, [made_up]), profile=records.profile).to_dict("records")
    assert (row["verdict"], row["measured"], row["seeds"]) == ("holds", "1.00 [0.00, 2.00]", "3")


def test_who_lasts_longer_is_measured_on_the_same_fresh_seeds(run_root: Path, stress: dict) -> None:
    """Differences of 9, 1, 0, 0 and 10 steps: mean 4, standard error 2.258, Student's factor 2.776."""
    (run_root / "records" / "stress.json").write_text(json.dumps(stress))
    claim = BY_NAME["lasts_longer"]
    assert claim.measure(Records.of_run(run_root)) is None
    lasted = {"reinforce_pp": (40, 7, 8, 40, 9, 10), "stable_reinforce": (1, 16, 9, 40, 9, 20)}
    for name, steps in lasted.items():
        for seed, count in zip((100, *range(200, 205)), steps, strict=True):
            folder = run_root / f"records/stress/hard/{name}/seed_{seed}"
            folder.mkdir(parents=True)
            about = {"status": "collapsed", "seed": seed, "steps": count}
            (folder / "run.json").write_text(json.dumps(about))
    measured = claim.measure(Records.of_run(run_root))
    assert measured and measured.interval and measured.seeds == 5
    found = (measured.interval.estimate, measured.interval.low, measured.interval.high)
    assert found == pytest.approx((4.0, 4 - 2.7764 * 2.2583, 4 + 2.7764 * 2.2583), abs=1e-3)


def test_quotes_are_the_papers() -> None:
    files = glob.glob(os.environ.get("R1REWARD_PAPER", ""))
    if not files:
        pytest.skip("R1REWARD_PAPER names no file with the paper's text")
    text = Path(files[0]).read_text(encoding="utf-8")
    assert [claim.name for claim in CLAIMS if claim.quote not in text] == []
