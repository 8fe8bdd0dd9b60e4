"""Tables of a new run, cell by cell beside values computed from the lines of its records."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from math import comb, prod
from statistics import fmean
from typing import Any

import numpy as np
import pandas as pd
import pytest

from r1reward.report.render import TABLES

VL, MULTI, MM = "vl_rewardbench", "multimodal_rewardbench", "mm_rlhf_rewardbench"
SAMPLED = "sampled, temperature 1"
MODES = {"greedy": "greedy", "sampled": SAMPLED}
NAMES = {"base": "Base model", "sft": "Only Long-CoT SFT†", "sft_continued": "SFT continued (control)†",
         "reinforce_pp": "Reinforce++†", "stable_reinforce": "StableReinforce†"}  # fmt: skip
HEADS = {"scalar": "Reward model with a scalar head†", "critique": "Critique, then score†"}
# What each column of Tables 3, 4 and 8 is about: a group, or all pairs, the mean of the groups, all right.
COLUMNS = {
    3: {"general": "general", "hallucination": "hallucination", "reasoning": "reasoning",
        "overall_acc": "over pairs", "macro_acc": "mean of groups"},
    4: {"overall": "mean of groups", "general_correctness": "correctness", "general_preference": "preference",
        "knowledge": "knowledge", "reasoning_math": "math", "reasoning_coding": "coding", "safety": "safety",
        "vqa": "vqa", "over_pairs": "over pairs"},
    8: {"mcq": "mcq", "long": "long", "short": "short", "safety": "safety", "video": "video",
        "acc": "over pairs", "acc_plus": "all right"},
}  # fmt: skip
BENCHMARKS = {3: VL, 4: MULTI, 8: MM}
# Rows of the ablations, by what names them, with the folder of their records.
RL = {"StableReinforce†": "stable_reinforce", "Reinforce++†": "reinforce_pp"}
ROWS = {
    5: {"Only Long-Cot SFT†": "sft", "SFT continued (control)†": "sft_continued", **RL,
        "wo advantage†": "wo_filter", "wo pre-clip†": "wo_pre_clip", "REINFORCE†": "reinforce",
        "PPO-clip without a critic†": "ppo", "GRPO†": "grpo",
        "Reinforce++ wo consistency reward†": "reinforce_pp_plain"},
    6: {"ratio <= 1000": "stable_reinforce", "-": "wo_pre_clip", "|log ratio| <= 5": "log_bound_5",
        "|log ratio| <= 10": "log_bound_10", "|log ratio| <= 100": "log_bound_100",
        "ratio <= 5": "ratio_bound_5", "ratio <= 10": "ratio_bound_10", "ratio <= 100": "ratio_bound_100"},
    7: {"1.00†": "weight_1.0", "0.50†": "stable_reinforce", "0.10†": "weight_0.1", "0.00†": "weight_0.0",
        "external†": "external"},
    13: {"Strong judge†": "stable_reinforce", "Weaker judge†": "judge_weak", "Random judge†": "judge_random",
         "Strong judge + 25% flipped†": "judge_noisy", "Any judge†": "weight_0.0"},
}  # fmt: skip
LABELS = {5: "model", 6: "clip_ratio", 7: "consistency_weight", 13: "judge"}
OWN = ("sft", "sft_continued", "stable_reinforce", "reinforce_pp")


@pytest.fixture(scope="module")
def table(distinct) -> Callable[[str], pd.DataFrame]:
    found: dict[str, pd.DataFrame] = {}

    def make(name: str) -> pd.DataFrame:
        if name not in found:
            found[name] = TABLES[name](distinct.records)
        return found[name]

    return make


def shown(row: Any, column: str) -> list[str]:
    """A cell with its bounds."""
    return [row[column], row[f"{column}_low"], row[f"{column}_high"]]


def line(frame: pd.DataFrame, **cells: str) -> Any:
    """The one measured row with these cells."""
    rows = [
        row for row in frame.to_dict("records") if row["source"] != "paper" and cells.items() <= row.items()
    ]
    assert len(rows) == 1, (cells, len(rows))
    return rows[0]


def expected(distinct, place: str, meaning: str) -> list[str]:
    """What a column of Table 3, 4 or 8 has to show of a file of verdicts; means of groups without bounds."""
    groups = list(dict.fromkeys(row["group"] for row in distinct.rows(place)))
    if meaning == "mean of groups":
        return [f"{100 * fmean(distinct.accuracy(place, group).mean() for group in groups):.2f}"]
    if meaning == "all right":
        names = [row["question"] for row in distinct.rows(place)]
        credit = distinct.credit(place)
        whole = [
            credit[:, [n == name for n in names]].min(axis=1).mean(axis=1) for name in sorted(set(names))
        ]
        return distinct.interval(np.stack(whole, axis=1))
    return distinct.interval(distinct.accuracy(place, meaning if meaning in groups else ""))


@pytest.mark.parametrize("number", BENCHMARKS)
def test_rows_and_columns_of_the_benchmark_tables(distinct, table, number: int) -> None:
    frame, seen = table(f"table_{number:02d}"), set()
    for (model, name), mode in itertools.product((NAMES | HEADS).items(), MODES):
        if model in HEADS and mode == "sampled":
            continue
        row = line(frame, model=name, decoding="scores" if model in HEADS else MODES[mode])
        for column, meaning in COLUMNS[number].items():
            found = expected(distinct, f"bench/{BENCHMARKS[number]}/{model}/*/{mode}.jsonl", meaning)
            assert shown(row, column)[: len(found)] == found, (name, mode, column)
            assert float(row[f"{column}_low"]) <= float(row[column]) <= float(row[f"{column}_high"])
        seen.add(tuple(row[column] for column in COLUMNS[number]))
    assert len(seen) == 12, "the records do not tell the rows apart"


def votes(line: dict[str, Any], order: int, k: int) -> float:
    """Chance that k of the answers name the right response: 1/2 at a tie, 0 where none has a verdict."""
    right = str(line["preferred"] if order == 0 else 3 - line["preferred"])
    marks = line["verdicts"][order]
    n, r, u = len(marks), marks.count(right), marks.count("u")
    won = 0.0
    for a, b in itertools.product(range(k + 1), repeat=2):
        ways = comb(r, a) * comb(n - r - u, b) * comb(u, k - a - b) if a + b <= k else 0
        won += ways * (1.0 if a > b else 0.5 if a == b > 0 else 0.0)
    return won / comb(n, k)


def pool_of(distinct, benchmark: str, k: int, seed: int) -> list[tuple[str, str, list[float]]]:
    lines = distinct.rows(f"scaling/{benchmark}/stable_reinforce/*/pool.jsonl", seed)
    return [(one["group"], one["question"], [votes(one, order, k) for order in (0, 1)]) for one in lines]


@pytest.mark.parametrize("number", BENCHMARKS)
@pytest.mark.parametrize("k", [5, 15])
def test_votes_are_of_as_many_answers_as_their_row_says(distinct, table, number: int, k: int) -> None:
    row = line(table(f"table_{number:02d}"), model=f"Voting@{k}, StableReinforce†")
    pools = [pool_of(distinct, BENCHMARKS[number], k, seed) for seed in range(2)]
    for column, meaning in COLUMNS[number].items():
        if meaning == "all right":
            names = {name for _, name, _ in pools[0]}
            found = fmean(prod(both[order] for _, name, both in pool if name == wanted)
                          for pool in pools for wanted in names for order in (0, 1))  # fmt: skip
        elif meaning == "mean of groups":
            names = {group for group, _, _ in pools[0]}
            found = fmean(fmean(fmean(b) for p in pools for g, _, b in p if g == wanted) for wanted in names)
        else:
            found = fmean(fmean(b) for p in pools for g, _, b in p if meaning in (g, "over pairs"))
        assert row[column] == f"{100 * found:.2f}", column


@pytest.mark.parametrize("number", ROWS)
def test_rows_of_the_ablations(distinct, table, number: int) -> None:
    frame, seen = table(f"table_{number:02d}"), set()
    reference = {mode: distinct.accuracy(f"bench/{VL}/stable_reinforce/*/{mode}.jsonl") for mode in MODES}
    for (label, folder), mode in itertools.product(ROWS[number].items(), MODES):
        row = line(frame, **{LABELS[number]: label, "decoding": MODES[mode]})
        place = f"bench/{VL}/{folder}" if folder in OWN else f"grid/{folder}"
        values = distinct.accuracy(f"{place}/*/{mode}.jsonl")
        assert shown(row, "overall_acc") == distinct.interval(values), (label, mode)
        if folder not in ("sft", "stable_reinforce"):
            assert shown(row, "difference") == distinct.interval(values, reference[mode]), (label, mode)
        for group in ("general", "hallucination", "reasoning") if number != 13 else ():
            assert row[group] == distinct.interval(distinct.accuracy(f"{place}/*/{mode}.jsonl", group))[0]
        seen.add(row["overall_acc"])
    assert len(seen) > 1.5 * len(ROWS[number]), "the records do not tell the rows apart"


def test_annotators_and_their_differences(distinct, table) -> None:
    titles = {"strong": "strong", "weak": "weak", "weak_sampled": "weak, every attempt at temperature 1",
              "weak_reworded": "weak, asked in other words", "ideal": "ideal"}  # fmt: skip
    values = {arm: distinct.accuracy(f"bench/{VL}/annotator_{arm}/*/greedy.jsonl") for arm in titles}
    for arm, title in titles.items():
        row = line(table("table_10"), annotator=f"{title} (scripted)†")
        assert shown(row, "overall_acc") == distinct.interval(values[arm])
        assert row["right_at_once"] == f"{50 + len(arm):.2f}"
    for one, other in (
        ("weak", "strong"),
        ("weak_sampled", "weak"),
        ("weak_reworded", "weak"),
        ("ideal", "strong"),
    ):
        row = line(table("extra_annotators"), annotator=f"{titles[one]}†", minus=f"{titles[other]}†")
        assert shown(row, "difference") == distinct.interval(values[one], values[other])


def test_differences_are_the_first_named_model_minus_the_second(distinct, table) -> None:
    for row in table("extra_paired_differences").to_dict("records"):
        names = {name: model for model, name in NAMES.items()}
        mode = {shown: mode for mode, shown in MODES.items()}[row["decoding"]]
        one, other = (
            distinct.accuracy(f"bench/{VL}/{names[row[c]]}/*/{mode}.jsonl") for c in ("model", "minus")
        )
        assert shown(row, "difference") == distinct.interval(one, other), row


def test_how_the_judges_answer(distinct, table) -> None:
    decodings = {"greedy": "greedy", "sampled": SAMPLED, "blank_greedy": "greedy, picture blanked"}
    for (model, name), (mode, shown_as) in itertools.product(NAMES.items(), decodings.items()):
        row = line(table("extra_judge_behaviour"), model=name, decoding=shown_as)
        place = f"bench/{VL}/{model}/*/{mode}.jsonl"
        lines = [one for seed in range(2) for one in distinct.rows(place, seed)]
        marks = "".join(one["verdicts"] for one in lines)
        first = [one["verdicts"][one["preferred"] - 1] == "1" for one in lines]
        assert row["accuracy"] == distinct.interval(distinct.accuracy(place))[0]
        assert row["accuracy_first"] == f"{100 * fmean(first):.2f}"
        assert row["accuracy_given"] == f"{100 * distinct.credit(place)[..., 0].mean():.2f}"
        assert row["answer_one"] == f"{100 * marks.count('1') / (len(marks) - marks.count('u')):.2f}"
        same = [one["verdicts"] in ("12", "21") for one in lines]
        assert row["order_consistency"] == f"{100 * fmean(same):.2f}"
        assert row["unparsed"] == f"{100 * marks.count('u') / len(marks):.2f}"


def points(distinct, policy: str, column: str) -> np.ndarray:
    lines = [distinct.rows(f"downstream/{policy}/*/all.jsonl", seed) for seed in range(2)]
    return np.array([[one["points"] for one in some if column in one["units"]] for some in lines])


def test_downstream_columns_and_what_training_changed(distinct, table) -> None:
    frame, gains = table("table_11"), table("extra_downstream").to_dict("records")
    columns = list(distinct.rows("downstream/start/*/all.jsonl")[k]["units"] for k in range(0, 200, 20))
    columns = [next(iter(units)) for units in columns]
    pairs = {"greedy": ("start", "trained"), "sampled": ("start_sampled", "trained_sampled")}
    for mode, policies in pairs.items():
        for policy, name in zip(policies, ("Policy before", "Policy trained by R1-Reward†"), strict=True):
            row = line(frame, model=name, decoding=MODES[mode])
            for column in columns:
                cell = row[column].removesuffix(" ◐")
                assert cell == f"{100 * points(distinct, policy, column).mean():.2f}", (policy, column)
        before, after = policies
        for column, gain in zip(columns, gains, strict=False):
            change = points(distinct, after, column).mean() - points(distinct, before, column).mean()
            assert gain[mode] == f"{100 * change:.2f}", (mode, column)
        change = fmean(
            points(distinct, after, c).mean() - points(distinct, before, c).mean() for c in columns
        )
        assert gains[-1][mode] == f"{100 * change:.2f}"


def test_ways_to_vote(distinct, table) -> None:
    frame = table("table_12")
    for name, k in (("One sampled answer", 1), ("Voting@16", 16)):
        row = line(frame, model=f"StableReinforce†: {name}")
        pools = [pool_of(distinct, VL, k, seed) for seed in range(2)]
        assert row["overall_acc"] == f"{100 * fmean(fmean(both) for p in pools for *_, both in p):.2f}"
        assert row["answers"] == f"{k:.2f}"
    row = line(frame, model="StableReinforce†: One greedy answer")
    values = distinct.accuracy(f"bench/{VL}/stable_reinforce/*/greedy.jsonl")
    assert shown(row, "overall_acc") == distinct.interval(values)
