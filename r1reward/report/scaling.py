"""Test-time scaling: Table 12, Figure 3, best-of-N and the statistics of the claims about votes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator

from r1reward.benchmarks import TITLES, VL
from r1reward.report.layout import (
    SHORT_DAGGER_NOTE,
    display_name,
    interval_cells,
    join_tables,
    not_run,
    run_cells,
)
from r1reward.report.paper import paper_table
from r1reward.report.pools import (
    Pool,
    Values,
    any_right,
    early_stopping,
    majority,
    swapped_majority,
    weighted_majority,
)
from r1reward.report.records import REFERENCE, Records
from r1reward.report.style import COLOURS, add_note, new_figure, say_not_run, styled
from r1reward.report.tables import titled
from r1reward.scoring import macro_values
from r1reward.stats import mean_interval

RANKED = ("sft", REFERENCE)
LOOKS: dict[str, dict[str, Any]] = {
    "any": {"color": COLOURS["any"], "marker": "^", "ms": 4, "label": "Any@k"},
    REFERENCE: {"color": COLOURS[REFERENCE], "marker": "D", "ms": 4, "label": "Vote@k"},
    "swapped": {"color": COLOURS["swapped"], "marker": "s", "ms": 4, "label": "Vote@k, half exchanged"},
    "weighted": {
        "color": COLOURS["weighted"],
        "marker": "P",
        "ms": 8,
        "ls": "none",
        "label": "weighted votes",
    },
    "stopped": {"color": COLOURS["paper"], "marker": "*", "ms": 11, "ls": "none", "label": "early stopping"},
}
GREEDY: dict[str, Any] = {"color": COLOURS[REFERENCE], "ls": "--", "lw": 1, "label": "one greedy answer"}
COIN_ANY: dict[str, Any] = {"color": COLOURS["quiet"], "ls": "--", "lw": 1, "label": "Any@k of a coin"}
COIN_VOTE: dict[str, Any] = {"color": COLOURS["quiet"], "ls": ":", "lw": 1, "label": "Vote@k of a coin"}


def voting_rows(pool: Pool) -> dict[str, tuple[Values, float]]:
    """What Table 12 shows by the name of the strategy: accuracy (S, N) and mean answers drawn."""
    size, even = pool.size, pool.size - pool.size % 2
    stopped, drawn = early_stopping(pool)
    return {
        "One sampled answer": (majority(pool, 1).mean(axis=-1), 1.0),
        f"Voting@{size}": (majority(pool, size).mean(axis=-1), float(size)),
        "Confidence-Weighted": (weighted_majority(pool).mean(axis=-1), float(size)),
        "Early Stopping": (stopped.mean(axis=-1), float(drawn.mean())),
        f"Voting@{even}, half exchanged": (swapped_majority(pool, even), float(even)),
    }


def table_12(records: Records) -> pd.DataFrame:
    """Table 12: ways to vote, the paper's rows and this run's."""
    printed = paper_table(12).assign(source="paper")
    pool = records.pool(VL, REFERENCE)
    name, rows = display_name(records, REFERENCE), []
    if pool is None:
        rows = [{"model": name, **not_run(records, "overall_acc", "macro_acc")}]
    else:
        shown = [(strategy, *votes, pool.groups) for strategy, votes in voting_rows(pool).items()]
        if greedy := records.bench(REFERENCE, "greedy"):
            # Of all pairs of the benchmark, of which a small profile draws votes for some only.
            shown.insert(0, ("One greedy answer", greedy.values, 1.0, greedy.groups))
        for strategy, values, drawn, groups in shown:
            row = {"model": f"{name}: {strategy}", "answers": f"{drawn:.2f}"}
            row |= interval_cells("overall_acc", mean_interval(values))
            row |= interval_cells("macro_acc", mean_interval(macro_values(values, groups)))
            rows.append(row | run_cells(records, values.shape))
    frame = join_tables(printed, rows, intervals=["overall_acc", "macro_acc"])
    return titled(frame, "table_12", records=records)


def _first_is_good(line: Mapping[str, Any]) -> float:
    """1 or 0; a question that could not be asked has no order, and is 0."""
    return float(bool(line["order"]) and line["order"][0] in line["good"])


def best_of_n_table(records: Records) -> pd.DataFrame:
    """Best-of-N: how often the response that a judge ranks first is one of the good ones."""
    rows = []
    for model in RANKED:
        seeds = records.best_of_n(model)
        row = {"model": display_name(records, model)}
        if not seeds:
            rows.append(row | not_run(records, "first_is_good"))
            continue
        hits = np.array([[_first_is_good(line) for line in lines] for lines in seeds])
        chance = np.mean([len(line["good"]) / line["responses"] for line in seeds[0]])
        row["chance"] = f"{100 * chance:.2f}"
        rows.append(
            row | interval_cells("first_is_good", mean_interval(hits)) | run_cells(records, hits.shape)
        )
    frame = join_tables(pd.DataFrame(), rows, intervals=["first_is_good"])
    return titled(frame, "extra_best_of_n", records=records)


def figure_3(records: Records) -> Figure:
    """Vote@k and Any@k on the three benchmarks, and accuracy by the tokens that were generated for it."""
    with styled():
        figure = new_figure(12.5, 3.6)
        panels = figure.subplots(1, 4)
        pools = {name: records.pool(name, REFERENCE) for name in TITLES}
        for letter, axes, (name, pool) in zip("abc", panels, pools.items(), strict=False):
            axes.set_title(f"({letter}) {TITLES[name]}")
            say_not_run(axes) if pool is None else _draw_curves(axes, pool)
            _draw_greedy(axes, records, name)
        panels[0].set_ylabel("accuracy (%)")
        panels[3].set_title("(d) Cost, VL-RewardBench")
        costs = pools[VL]
        say_not_run(panels[3]) if costs is None else _draw_costs(panels[3], costs)
        _draw_greedy(panels[3], records, VL)
        _legend_3(figure)
        measured = [pool for pool in pools.values() if pool]
        seeds = max((len(pool.seeds) for pool in measured), default=0)
        sizes = " / ".join(f"{len(pool.groups):,}" for pool in measured)
        add_note(
            figure,
            f"Measured, profile {records.profile}, {display_name(records, REFERENCE)}, {seeds} seeds; "
            f"{sizes} pairs, each judged in both orders. Bands: 95 % over seeds and pairs.\n"
            f"The paper's curves are not printed, so none is drawn. {SHORT_DAGGER_NOTE}",
        )
        return figure


def _draw_curves(axes: Axes, pool: Pool) -> None:
    ks, halves = range(1, pool.size + 1), range(2, pool.size + 1, 2)
    axes.plot(ks, [100 * (1 - 0.5**k) for k in ks], **COIN_ANY)
    axes.axhline(50, **COIN_VOTE)
    for name, strategy, shown in (
        ("any", any_right, ks),
        ("swapped", swapped_majority, halves),
        (REFERENCE, majority, ks),
    ):
        per_pair = [strategy(pool, k).reshape(*pool.right.shape[:2], -1).mean(axis=-1) for k in shown]
        intervals = [mean_interval(values) for values in per_pair]
        low, middle, high = (
            [100 * getattr(i, part) for i in intervals] for part in ("low", "estimate", "high")
        )
        axes.fill_between(shown, low, high, color=COLOURS[name], alpha=0.18, lw=0)
        axes.plot(shown, middle, **LOOKS[name])
    axes.set_xlabel("answers k")
    axes.xaxis.set_major_locator(MultipleLocator(4))
    axes.set_ylim(top=101)


def _draw_greedy(axes: Axes, records: Records, benchmark: str) -> None:
    greedy = records.bench(REFERENCE, "greedy", benchmark=benchmark)
    if greedy is not None:
        axes.axhline(100 * float(greedy.values.mean()), **GREEDY)


def _draw_costs(axes: Axes, pool: Pool) -> None:
    tokens = float(pool.tokens.mean()) / pool.size
    ks, halves = range(1, pool.size + 1), range(2, pool.size + 1, 2)
    for name, strategy, shown in ((REFERENCE, majority, ks), ("swapped", swapped_majority, halves)):
        accuracies = [100 * float(strategy(pool, k).mean()) for k in shown]
        axes.plot([tokens * k for k in shown], accuracies, **LOOKS[name])
    stopped, drawn = early_stopping(pool)
    weighted = weighted_majority(pool)
    axes.plot(tokens * pool.size, 100 * weighted.mean(), **LOOKS["weighted"])
    axes.plot(tokens * drawn.mean(), 100 * stopped.mean(), **LOOKS["stopped"])
    axes.set_xlabel("generated tokens a judgment")
    axes.set_ylabel("accuracy (%)")


def _legend_3(figure: Figure) -> None:
    handles = [Line2D([], [], **look) for look in (*LOOKS.values(), GREEDY, COIN_ANY, COIN_VOTE)]
    figure.legend(handles=handles, loc="outside upper center", ncols=8, fontsize=8)
