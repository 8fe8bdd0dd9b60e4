from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from r1reward.benchmarks import MM_RLHF, VL
from r1reward.report import columns
from r1reward.report.columns import COLUMNS, Row, Shown, compare, paired_values, score, score_runs
from r1reward.report.records import Records
from r1reward.scoring import Judgments, behaviour


def runs_of(verdicts: list, *, preferred: list[int], groups: list[str]) -> Judgments:
    array = np.array(verdicts)
    tokens, questions = np.full(array.shape, 10), np.full(len(preferred), "")
    seeds = tuple(range(len(array)))
    return Judgments(
        seeds, np.array(groups), np.array(preferred), array, tokens, questions, np.arange(len(groups))
    )


# Four pairs: both right, right only as given, both wrong with the same number, unparsed then right.
HAND = runs_of(
    [[[1, 2], [2, 2], [1, 1], [0, 1]]],
    preferred=[1, 2, 2, 2],
    groups=["general", "reasoning", "reasoning", "reasoning"],
)


def test_accuracies_by_hand() -> None:
    scores = score_runs(HAND)
    # Values of the pairs: 1, 1/2, 1/2 (preferred 2: "1" is wrong as given, right swapped), 1/2.
    assert HAND.values.tolist() == [[1.0, 0.5, 0.5, 0.5]]
    assert scores.overall.estimate == pytest.approx(0.625)
    assert scores.groups["general"].estimate == 1.0
    assert scores.groups["reasoning"].estimate == 0.5
    assert scores.macro.estimate == pytest.approx(0.75)
    assert "hallucination" not in scores.groups
    assert scores.num_pairs == 4


def test_behaviour_by_hand() -> None:
    shown = behaviour(HAND)
    assert shown.accuracy == 5 / 8
    # Right answers as given: 1 2 2 2 against 1 2 1 u; swapped: 2 1 1 1 against 2 2 1 1.
    assert (shown.accuracy_given, shown.accuracy_swapped) == (0.5, 0.75)
    # The better response stood first in pair 0 as given and in pairs 1-3 swapped.
    assert (shown.accuracy_first, shown.accuracy_second) == (0.75, 0.5)
    assert shown.order_consistency == 0.25
    assert shown.answer_one == 4 / 7
    assert shown.unparsed == 1 / 8
    assert shown.mean_tokens == 10


def test_a_judge_that_always_answers_one_is_at_chance() -> None:
    runs = runs_of([[[1, 1]] * 6], preferred=[1, 2, 1, 1, 1, 2], groups=["general"] * 6)
    shown = behaviour(runs)
    assert (shown.accuracy, shown.accuracy_first, shown.accuracy_second) == (0.5, 1.0, 0.0)
    assert (shown.order_consistency, shown.answer_one) == (0.0, 1.0)
    interval = score_runs(runs).overall
    # Six pairs: up to 1 - 0.025^(1/6) of all others may be judged otherwise, wrong or right in both orders.
    rest = (1 - 0.025 ** (1 / 6)) / 2
    assert interval.estimate == 0.5
    assert (interval.low, interval.high) == pytest.approx((0.5 - rest, 0.5 + rest))


def test_a_judge_without_verdicts_has_no_share_of_ones() -> None:
    shown = behaviour(runs_of([[[0, 0]]], preferred=[1], groups=["general"]))
    assert np.isnan(shown.answer_one)
    assert (shown.accuracy, shown.unparsed) == (0.0, 1.0)


def test_macro_interval_is_that_of_a_mean_of_group_means() -> None:
    """Of one seed the variance is that of three independent means, divided by nine."""
    rng = np.random.default_rng(0)
    groups = np.array(["general"] * 60 + ["hallucination"] * 250 + ["reasoning"] * 100)
    right = rng.random((1, 410, 2)) < np.where(groups == "general", 0.9, 0.6)[None, :, None]
    runs = runs_of(np.where(right, [1, 2], [2, 1]).tolist(), preferred=[1] * 410, groups=groups.tolist())
    parts = [runs.values[0, groups == group] for group in np.unique(groups)]
    macro, mean = score_runs(runs).macro, np.mean([part.mean() for part in parts])
    variance = sum(part.var() / len(part) for part in parts) / 9 * 410 / 409
    half = t.ppf(0.975, 409) * np.sqrt(variance)
    assert (macro.estimate, macro.low, macro.high) == pytest.approx((mean, mean - half, mean + half))


def test_scores_are_the_same_each_time(run_root: Path) -> None:
    assert score(Records.of_run(run_root), "sft", "greedy") == score(
        Records.of_run(run_root), "sft", "greedy"
    )


def test_compare_is_the_difference_of_the_scores(records: Records) -> None:
    interval = compare(records, "sft", "stable_reinforce", "greedy")
    before, after = score(records, "sft", "greedy"), score(records, "stable_reinforce", "greedy")
    assert interval is not None and before is not None and after is not None
    assert interval.estimate == pytest.approx(after.overall.estimate - before.overall.estimate)
    assert interval.low < interval.estimate < interval.high


def test_what_is_remembered_is_of_its_own_mode_and_benchmark(run_root: Path) -> None:
    records = Records.of_run(run_root)
    found = {}
    for mode in ("greedy", "sampled"):
        interval = compare(records, "sft", "stable_reinforce", mode)
        before, after = (score(records, model, mode) for model in ("sft", "stable_reinforce"))
        assert interval is not None and before is not None and after is not None
        found[mode] = after.overall.estimate - before.overall.estimate
        assert interval.estimate == pytest.approx(found[mode])
    assert found["greedy"] != found["sampled"]
    assert score(records, "sft", "greedy", benchmark=MM_RLHF) is None, "it was not run"


@pytest.mark.parametrize("change", [{"record": "base"}, {"benchmark": MM_RLHF}, {"steered": True}])
def test_what_a_row_remembers_is_its_own(change: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Judgments and pools are stood in for by what was asked for."""
    monkeypatch.setattr(columns, "majority", lambda pool, votes: (*pool.asked, votes))
    monkeypatch.setattr(columns, "behaviour", lambda runs: SimpleNamespace(accuracy=runs))
    records: Any = SimpleNamespace(
        cache={},
        pool=lambda *asked: SimpleNamespace(size=9, asked=asked),
        bench=lambda name, mode, benchmark: (name, mode, benchmark),
        steered_bench=lambda name: (name, "steered"),
    )
    first = Row("sft", {}, ("greedy",), votes=5)
    rows = [Shown(records, row, "greedy") for row in (first, replace(first, **change))]
    assert rows[0].votes() == (VL, "sft", 5)
    assert rows[1].votes() == (change.get("benchmark", VL), change.get("record", "sft"), 5)
    assert len({str(COLUMNS["accuracy"](row)) for row in rows}) == 2


def test_compare_with_itself_is_exactly_zero(records: Records) -> None:
    """Its interval is that of no pair of 120 that differs."""
    interval = compare(records, "sft", "sft", "sampled")
    assert interval is not None and interval.estimate == 0.0
    assert -interval.low == interval.high == pytest.approx(1 - 0.025 ** (1 / 120))


def test_one_seed_stands_for_all_and_missing_runs_are_none(records: Records) -> None:
    values = paired_values(records, "base", "sft", mode="greedy")
    assert values is not None
    assert values[0].shape == values[1].shape == (3, 120)
    assert (values[0] == values[0][0]).all()
    assert compare(records, "sft", "never_trained", "greedy") is None


def test_other_pairs_are_not_compared(run_root: Path, write_jsonl) -> None:
    path = run_root / "records" / "bench" / "vl_rewardbench" / "other" / "seed_0" / "greedy.jsonl"
    write_jsonl(path, [{"row": 0, "group": "general", "preferred": 1, "verdicts": "12", "tokens": [1, 1]}])
    with pytest.raises(ValueError, match="same pairs"):
        compare(Records.of_run(run_root), "sft", "other", "greedy")
