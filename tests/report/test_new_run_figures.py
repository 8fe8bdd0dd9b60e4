"""Figures of a new run: every curve and marker beside values computed from the lines of its records."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from statistics import fmean

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

from r1reward.report.render import FIGURES
from r1reward.report.scaling import table_12

VL = "bench/vl_rewardbench"
MODELS = {"Base model": "base", "Only Long-CoT SFT†": "sft", "SFT continued (control)†": "sft_continued",
          "Reinforce++†": "reinforce_pp", "StableReinforce†": "stable_reinforce"}  # fmt: skip
BENCHMARKS = {"VL-RewardBench": "vl_rewardbench", "Multimodal RewardBench": "multimodal_rewardbench",
              "MM-RLHF-RewardBench": "mm_rlhf_rewardbench"}  # fmt: skip
PRE_CLIP = tuple(f"pre_clip_{side}_{sign}" for side in ("high", "low") for sign in ("positive", "negative"))
CURVES = {
    "(a) Policy loss": ("policy_loss",), "(b) Response length": ("response_length",),
    "(c) Accuracy of rollouts": ("accuracy",), "(d) Reward": ("reward",), "(e) Gradient norm": ("grad_norm",),
    "(f) Pre-CLIP hits": PRE_CLIP, "(g) Filtered advantages": ("filtered_positive", "filtered_negative"),
    '(h) Answer "1"': ("answer_one_share",),
}  # fmt: skip


@pytest.fixture(scope="module")
def figure(distinct) -> Callable[[str], Figure]:
    found: dict[str, Figure] = {}

    def make(name: str) -> Figure:
        return found.setdefault(name, FIGURES[name](distinct.records))

    return make


def panels(figure: Figure) -> dict[str, Axes]:
    return {axes.get_title(loc="left"): axes for axes in figure.axes}


def colours(figure: Figure) -> dict[str, str]:
    """The colour that each name of the legend stands for."""
    (legend,) = figure.legends
    handles = zip(legend.get_texts(), legend.legend_handles, strict=True)
    return {text.get_text(): to_hex(handle.get_color()) for text, handle in handles}  # type: ignore[union-attr]


def curve(axes: Axes, colour: str) -> list[float]:
    (line,) = [line for line in axes.lines if to_hex(line.get_color()) == colour]
    return np.asarray(line.get_ydata(), dtype=float).tolist()


def metric(distinct, folder: str, columns: tuple[str, ...]) -> list[float]:
    """The mean over seeds of the sum of some metrics, by step."""
    runs = [distinct.rows(f"{folder}/*/metrics.jsonl", seed) for seed in range(2)]
    return [fmean(sum(row[name] for name in columns) for row in both) for both in zip(*runs, strict=True)]


def numbers(distinct, values: np.ndarray, minus: np.ndarray | None = None) -> list[float]:
    """Low, middle and high."""
    middle, low, high = map(float, distinct.interval(values, minus))
    return [low, middle, high]


def marks(axes: Axes, y: float) -> dict[str, list[float]]:
    """What is drawn at a height: the ends of its line, and its marker."""
    lines = [
        np.asarray(one.get_xdata(), dtype=float) for one in axes.lines if np.allclose(one.get_ydata(), y)
    ]
    return {
        "ends": next(x.tolist() for x in lines if len(x) == 2),
        "marker": next(x[0] for x in lines if len(x) == 1),
    }


def heights(axes: Axes) -> dict[str, float]:
    labels = zip(axes.get_yticklabels(), axes.get_yticks(), strict=True)
    return {label.get_text(): float(place) for label, place in labels}


def test_figure_1_draws_what_was_measured_of_each_model_on_each_benchmark(distinct, figure) -> None:
    drawn = panels(figure("figure_1"))
    assert list(drawn) == list(BENCHMARKS)
    places = heights(drawn["VL-RewardBench"])
    for title, benchmark in BENCHMARKS.items():
        for name, model in MODELS.items():
            place = f"bench/{benchmark}/{model}/*/greedy.jsonl"
            low, middle, high = numbers(distinct, distinct.accuracy(place))
            found = marks(drawn[title], places[name])
            if benchmark.startswith("multimodal"):
                names = {row["group"] for row in distinct.rows(place)}
                middle = 100 * fmean(distinct.accuracy(place, group).mean() for group in names)
                low, high = found["ends"]
                assert low < middle < high
            assert found["marker"] == pytest.approx(middle, abs=0.006), (title, name)
            assert found["ends"] == pytest.approx([low, high], abs=0.006), (title, name)


def test_figure_2_draws_each_metric_of_each_algorithm(distinct, figure) -> None:
    drawn, names = panels(figure("figure_2")), colours(figure("figure_2"))
    assert list(drawn) == list(CURVES)
    for title, columns in CURVES.items():
        for name in ("StableReinforce†", "Reinforce++†"):
            found = curve(drawn[title], names[name])
            assert found == pytest.approx(metric(distinct, f"rl/{MODELS[name]}", columns)), (title, name)


def test_figure_4_draws_each_part_that_is_left_out(distinct, figure) -> None:
    drawn, names = panels(figure("figure_4")), colours(figure("figure_4"))
    loss, length = ("policy_loss",), ("response_length",)
    for title, part, columns in (
        ("(a) Policy loss, no filter", "wo_filter", loss),
        ("(b) Response length, no filter", "wo_filter", length),
        ("(c) Policy loss, no Pre-CLIP", "wo_pre_clip", loss),
        ("(d) Response length, no Pre-CLIP", "wo_pre_clip", length),
    ):
        name = {"wo_filter": "without advantage filter†", "wo_pre_clip": "without Pre-CLIP†"}[part]
        assert curve(drawn[title], names[name]) == pytest.approx(metric(distinct, f"grid/{part}", columns))
        reference = metric(distinct, "rl/stable_reinforce", columns)
        assert curve(drawn[title], names["StableReinforce†"]) == pytest.approx(reference)


def test_training_in_other_settings(distinct, figure) -> None:
    drawn, names = panels(figure("extra_training")), colours(figure("extra_training"))
    for title, column, variant, name in (
        ("(a) Contradicted right answers", "contradicted_share", "weight_0.0", "without consistency reward"),
        ("(b) Accuracy of rollouts", "accuracy", "no_cold_start", "without cold start"),
        ("(c) Answers without a verdict", "unparsed_share", "no_cold_start", "without cold start"),
        ("(d) Reward", "reward", "easy_pairs", "on easy pairs"),
    ):
        assert curve(drawn[title], names[name]) == pytest.approx(
            metric(distinct, f"grid/{variant}", (column,))
        )
        reference = metric(distinct, "rl/stable_reinforce", (column,))
        assert curve(drawn[title], names["StableReinforce"]) == pytest.approx(reference)


def test_the_policys_training(distinct, figure) -> None:
    drawn = panels(figure("extra_downstream_training"))
    for title, column in {
        "(a) Different answers": "distinct_share",
        "(b) Length": "response_length",
        "(c) Answers equal to the reference": "reference_share",
        "(d) R1-Reward ranks them higher": "reference_above_share",
    }.items():
        found = np.asarray(drawn[title].lines[0].get_ydata(), dtype=float).tolist()
        assert found == pytest.approx(metric(distinct, "downstream/training", (column,))), title


def chances(distinct, benchmark: str, k: int) -> dict[str, float]:
    """Percent of pairs and orders that k answers get right by vote, and that any of them gets right."""
    vote, any_ = [], []
    for seed in range(2):
        for line in distinct.rows(f"scaling/{benchmark}/stable_reinforce/*/pool.jsonl", seed):
            for right, marks in zip(
                (line["preferred"], 3 - line["preferred"]), line["verdicts"], strict=True
            ):
                n, r, u = len(marks), marks.count(str(right)), marks.count("u")
                any_.append(1 - comb(n - r, k) / comb(n, k))
                ways = [(comb(r, a) * comb(n - r - u, b) * comb(u, k - a - b), a, b)
                        for a in range(k + 1) for b in range(k + 1 - a)]  # fmt: skip
                won = sum(way * (1.0 if a > b else 0.5 if a == b > 0 else 0.0) for way, a, b in ways)
                vote.append(won / comb(n, k))
    return {"Any@k": 100 * fmean(any_), "Vote@k": 100 * fmean(vote)}


def test_figure_3_draws_any_as_any_and_votes_as_votes(distinct, figure) -> None:
    drawn = panels(figure("figure_3"))
    for letter, title in zip(
        "abc", ("MM-RLHF-RewardBench", "VL-RewardBench", "Multimodal RewardBench"), strict=True
    ):
        lines = {line.get_label(): line for line in drawn[f"({letter}) {title}"].lines}
        for k in (1, 3, 16):
            for name, expected in chances(distinct, BENCHMARKS[title], k).items():
                points = dict(zip(lines[name].get_xdata(), lines[name].get_ydata(), strict=True))
                assert points[k] == pytest.approx(expected), (title, name, k)
        greedy = distinct.accuracy(f"bench/{BENCHMARKS[title]}/stable_reinforce/*/greedy.jsonl").mean()
        assert lines["one greedy answer"].get_ydata()[0] == pytest.approx(100 * greedy)
    cost = {line.get_label(): line for line in drawn["(d) Cost, VL-RewardBench"].lines}
    # 160 and 176 tokens for the 16 answers of an order.
    tokens, votes = cost["Vote@k"].get_xdata(), cost["Vote@k"].get_ydata()
    assert tokens[2] == pytest.approx(3 * 168 / 16)
    assert votes[2] == pytest.approx(chances(distinct, "vl_rewardbench", 3)["Vote@k"])


def weighted_votes(distinct) -> float:
    """Percent of pairs and orders that all answers get right where each weighs its probability."""
    won = []
    for seed in range(2):
        for line in distinct.rows("scaling/vl_rewardbench/stable_reinforce/*/pool.jsonl", seed):
            for order, right in enumerate((line["preferred"], 3 - line["preferred"])):
                answers = list(zip(line["verdicts"][order], line["probabilities"][order], strict=True))
                ours = sum(weight for mark, weight in answers if mark == str(right))
                theirs = sum(weight for mark, weight in answers if mark == str(3 - right))
                won.append(1.0 if ours > theirs else 0.5 if ours == theirs > 0 else 0.0)
    return 100 * fmean(won)


def test_weighted_votes_cost_the_whole_pool_and_early_stopping_less(distinct, figure) -> None:
    (legend,) = figure("figure_3").legends
    names = [text.get_text() for text in legend.get_texts()]
    looks = {name: one.get_marker() for name, one in zip(names, legend.legend_handles, strict=True)}
    points = {
        line.get_marker(): (float(line.get_xdata()[0]), float(line.get_ydata()[0]))
        for line in panels(figure("figure_3"))["(d) Cost, VL-RewardBench"].lines
        if len(line.get_xdata()) == 1
    }
    # 160 and 176 tokens for the 16 answers of an order.
    assert points[looks["weighted votes"]] == pytest.approx((168, weighted_votes(distinct)))
    rows = table_12(distinct.records).set_index("model")
    row = rows.loc["StableReinforce†: Early Stopping"]
    tokens, accuracy = points[looks["early stopping"]]
    assert tokens == pytest.approx(168 / 16 * float(row["answers"]), abs=0.06) and tokens < 168
    assert accuracy == pytest.approx(float(row["overall_acc"]), abs=0.006)


def test_the_comparison_draws_the_upper_model_minus_the_lower(distinct, figure) -> None:
    left, right = figure("extra_comparison").axes
    for label, place in heights(left).items():
        one, other = (MODELS[name] for name in label.split("\n\N{MINUS SIGN} "))
        for mode, shift in (("greedy", 0.16), ("sampled", -0.16)):
            values = [distinct.accuracy(f"{VL}/{model}/*/{mode}.jsonl") for model in (one, other)]
            low, middle, high = numbers(distinct, *values)
            found = marks(left, place + shift)
            assert [*found["ends"], found["marker"]] == pytest.approx([low, high, middle], abs=0.006), label
    for label, place in heights(right).items():
        lines = [
            line for seed in range(2) for line in distinct.rows(f"{VL}/{MODELS[label]}/*/greedy.jsonl", seed)
        ]
        first = 100 * fmean(line["verdicts"][line["preferred"] - 1] == "1" for line in lines)
        second = 100 * fmean(line["verdicts"][2 - line["preferred"]] == "2" for line in lines)
        (drawn,) = [one for one in right.lines if np.allclose(one.get_ydata(), [place + 0.17, place - 0.17])]
        assert np.asarray(drawn.get_xdata()) == pytest.approx([first, second]), label
        verdicts = "".join(line["verdicts"] for line in lines).replace("u", "")
        shares = [one for one in right.texts if one.get_text().endswith(" %")]
        (share,) = [one.get_text() for one in shares if np.isclose(one.xy[1], place)]  # type: ignore[attr-defined]
        assert share == f"{100 * verdicts.count('1') / len(verdicts):.0f} %", label


def test_the_policys_gains_are_trained_minus_start(distinct, figure) -> None:
    (axes,) = figure("extra_downstream").axes
    places = list(heights(axes).values())
    lines = distinct.rows("downstream/start/*/all.jsonl")
    columns = list(dict.fromkeys(next(iter(line["units"])) for line in lines))
    for mode, shift in (("", 0.0), ("_sampled", -0.25)):
        for column, place in zip(columns, places, strict=True):
            change = 100 * (
                score(distinct, f"trained{mode}", column) - score(distinct, f"start{mode}", column)
            )
            drawn = next(
                line
                for line in axes.lines
                if len(line.get_xdata()) == 3 and np.allclose(line.get_ydata(), place + shift)
            )
            low, middle, high = np.asarray(drawn.get_xdata(), dtype=float).tolist()
            assert middle == pytest.approx(change) and low <= middle <= high, (mode, column)


def score(distinct, policy: str, column: str) -> float:
    lines = [line for seed in range(2) for line in distinct.rows(f"downstream/{policy}/*/all.jsonl", seed)]
    return fmean(line["points"] for line in lines if column in line["units"])
