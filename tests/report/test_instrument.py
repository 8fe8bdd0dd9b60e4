"""The sensitivity table: its numbers follow from the records, and it says where a target is missed."""

import json

import pytest

from r1reward.report.instrument import QUANTITIES, instrument
from r1reward.report.layout import to_markdown
from r1reward.report.records import Records


@pytest.fixture
def records(tmp_path):
    root = tmp_path / "mini" / "records"

    def put(name, found):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(found))

    put("data.json", {"attempts": {"1": 70, "2": 6, "3": 4, "failed": 20}, "annotator": "scripted"})
    for seed, accuracy in ((0, 0.70), (1, 0.74)):
        found = {"accuracy": accuracy, "accuracy_sampled": 0.65, "contradicted": 0.25, "corrected": 0.05}
        put(f"sft/seed_{seed}/validation.json", {**found, "length_spread": 2.5})
        put(f"annotators/strong/seed_{seed}/validation.json", {"accuracy": 0.7})
        put(f"annotators/weak/seed_{seed}/validation.json", {"accuracy": 0.67})
    # Of this seed there is one annotator alone, which is compared with nobody.
    put("annotators/weak/seed_7/validation.json", {"accuracy": 0.1})
    put("annotators/strong/seed_5/validation.json", {"accuracy": 0.9})
    put("rl/reinforce_pp_plain/seed_0/status.json", {"status": "finished", "step": 4})
    shares = ((0.5, 0.08), *[(0.9, 0.02)] * 8, (0.95, 0.04), (0.95, 0.04))
    rows = [{"step": n, "accuracy": a, "contradicted_share": c} for n, (a, c) in enumerate(shares)]
    (root / "rl/reinforce_pp_plain/seed_0/metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    put(
        "stress.json",
        {
            "chosen": "hard",
            "tried": [{"cell": "hard", "ended": {"reinforce_pp": {"collapsed": [1, 0]}}}],
            "fresh": {},
        },
    )
    for seed, far in ((100, (0.0, 4e-6)), (101, (0.0, 0.0))):
        folder = f"stress/hard/reinforce_pp/seed_{seed}"
        put(f"{folder}/run.json", {"seed": seed, "variant": "reinforce_pp", "status": "finished"})
        hits = [{"step": n, "pre_clip_high_negative": share} for n, share in enumerate(far)]
        (root / folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, hits)))
    return Records(root, "mini")


def test_every_quantity_is_measured_from_its_record(records):
    frame = instrument(records).set_index("quantity")
    # 30 pairs were missed at first: 6 right at the 2nd attempt, 4 at the 3rd after two, 20 twice in vain.
    expected = {
        "pairs that the annotator never gets right": ("20.0 %", "yes"),
        "its attempts after a miss that are right": (f"{100 * 10 / (6 + 2 * 4 + 2 * 20):.1f} %", "yes"),
        "cold start, greedy accuracy": ("72.0 ± 2.8 %", "yes"),
        "cold start, sampled accuracy lower by": ("7.0 ± 2.8 points", "no"),
        "answers that contradict their reasoning": ("25.0 ± 0.0 %", "no"),
        "answers that correct themselves": ("5.0 ± 0.0 %", "yes"),
        "length of answers, 95th over 5th percentile": ("2.5 ± 0.0 times", "yes"),
        "weak annotator: cold start lower by": ("3.0 ± 0.0 points", "yes"),
        "Reinforce++: steps with under 10 % wrong": (f"{100 * 2 / 11:.1f} %", "no"),
        "Reinforce++: right answers that are contradicted": ("2.9 %", "yes"),
        "Reinforce++ off policy: ratio above 1,000 and advantage negative": (
            "1.0 ± 1.4 tokens a million",
            "yes",
        ),
        "Reinforce++: runs that collapse": ("0.0 %", "yes"),
    }
    assert {name: (row["measured"], row["met"]) for name, row in frame.iterrows()} == expected
    assert list(frame["source"]) == ["scripted"] * 2 + ["measured"] * 10


def test_targets_read_as_they_are_meant(records):
    frame = instrument(records).set_index("quantity")["target"]
    assert frame["cold start, greedy accuracy"] == "60 to 78 %"
    assert frame["cold start, sampled accuracy lower by"] == "at least 8 points"
    assert frame["its attempts after a miss that are right"] == "at most 40 %"
    assert frame["Reinforce++: runs that collapse"] == "0 %"


def test_what_has_not_run_says_so(tmp_path):
    frame = instrument(Records(tmp_path / "records", "mini"))
    assert set(frame["measured"]) == {"not run"} and len(frame) == len(QUANTITIES)
    assert to_markdown(frame).count("not run") == 2 * len(QUANTITIES)


def test_rows_with_and_without_numbers_stand_in_one_table(records):
    (records.folder / "data.json").unlink()
    lines = to_markdown(instrument(records)).splitlines()
    assert (
        sum("not run" in line for line in lines) == 2
        and sum("measured (mini" in line for line in lines) == 10
    )
