"""Accuracies of judges, differences between them, and what can stand in a column of `tables.toml`, by name.

A column makes of a row an interval, a share, a text, or None for "not run". It has the name of its function,
of a group of the benchmark, or of a field of `Behaviour`. What is right and what counts is told in
`r1reward.scoring`. The unit of every interval is the pair, both its orders together. S seeds, N pairs.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from r1reward.benchmarks import GROUP_COUNTS, VL
from r1reward.report.layout import NOT_RUN, display_name
from r1reward.report.pools import Values, majority
from r1reward.report.records import HEAD_NAMES, MODES, REFERENCE, Records
from r1reward.scoring import Behaviour, Judgments, behaviour, macro_values
from r1reward.stats import Interval, mean_interval, paired_interval, share_interval


@dataclass(frozen=True, slots=True)
class Accuracies:
    """Accuracies of one judge: over all pairs, as mean of the group accuracies, and by group.

    `all_right` is the share of questions of which every pair is right in an order (Acc+), None where
    pairs do not share questions.
    """

    overall: Interval
    macro: Interval
    groups: dict[str, Interval]
    all_right: Interval | None
    num_pairs: int


def score(records: Records, model: str, mode: str, *, benchmark: str = VL) -> Accuracies | None:
    """Scores of a model's recorded runs on a benchmark, or None if there is no run."""
    key = ("score", benchmark, model, mode)
    if key not in records.cache:
        runs = records.bench(model, mode, benchmark=benchmark)
        counts = runs is not None and runs.counted.any()
        records.cache[key] = score_runs(runs) if runs is not None and counts else None
    return records.cache[key]


def score_runs(runs: Judgments) -> Accuracies:
    """Overall, macro and group accuracies with intervals over seeds and pairs.

    A group of which no pair counts is left out, of the macro average too.
    """
    values, within = runs.values, runs.group_values
    present = sorted({str(group) for group in runs.groups[np.isfinite(within[0])]})
    return Accuracies(
        overall=mean_interval(values),
        macro=mean_interval(macro_values(within, runs.groups)),
        groups={group: mean_interval(within[:, runs.groups == group]) for group in present},
        all_right=mean_interval(runs.question_values) if all(runs.questions) else None,
        num_pairs=values.shape[1],
    )


def compare(records: Records, a: str, b: str, mode: str) -> Interval | None:
    """Paired difference in accuracy, b minus a, or None if a run is missing.

    Over the seeds and pairs that both models have, both orders of a pair together.
    """
    key = ("compare", a, b, mode)
    if key not in records.cache:
        values = paired_values(records, a, b, mode=mode)
        records.cache[key] = None if values is None else paired_interval(*values)
    return records.cache[key]


def paired_values(
    records: Records, a: str, b: str, *, mode: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Accuracy of each pair for two models over their common seeds, both (S, N); None if a run is missing.

    The base model, which is not trained, stands for every seed of the other.
    """
    runs_a, runs_b = records.bench(a, mode), records.bench(b, mode)
    if runs_a is None or runs_b is None:
        return None
    if not np.array_equal(runs_a.preferred, runs_b.preferred):
        raise ValueError(f"{a} and {b} were not judged on the same pairs ({mode})")
    if "base" in (a, b):
        shape = (max(len(runs_a.seeds), len(runs_b.seeds)), runs_a.values.shape[1])
        return np.broadcast_to(runs_a.values, shape).copy(), np.broadcast_to(runs_b.values, shape).copy()
    if not set(runs_a.seeds) & set(runs_b.seeds):
        raise ValueError(f"{a} and {b} have no common seed: {runs_a.seeds} and {runs_b.seeds}")
    return common_values(runs_a, runs_b)


def common_values(runs_a: Judgments, runs_b: Judgments) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Accuracy of each pair over the seeds that both have, both (S, N)."""
    seeds = [seed for seed in runs_a.seeds if seed in runs_b.seeds]
    rows_a, rows_b = ([runs.seeds.index(seed) for seed in seeds] for runs in (runs_a, runs_b))
    return runs_a.values[rows_a], runs_b.values[rows_b]


IDENTICAL = {
    REFERENCE: "the same runs as StableReinforce: the part that differs never acted",
    "reinforce_pp": "the same runs as Reinforce++: the part that differs never acted",
}
DECODINGS = MODES | {"blank_greedy": "greedy, picture blanked"}
_GROUPS = dict.fromkeys(group for groups in GROUP_COUNTS.values() for group in groups)
ACCURACIES = (*_GROUPS, "overall", "macro", "all_right")
# Columns that are followed by the bounds of their interval.
INTERVALS = (*ACCURACIES, "difference")


@dataclass(frozen=True, slots=True)
class Row:
    """A row of `tables.toml`: whose record, how it answered, what is subtracted, and the cells that name it.

    `votes` of sampled answers are taken together, 0 for single answers. `steered` records are those of the
    same judges where responses speak to them.
    """

    record: str
    cells: Mapping[str, str]
    modes: tuple[str, ...]
    minus: str = ""
    minus_title: str = ""
    votes: int = 0
    benchmark: str = VL
    steered: bool = False

    @property
    def marked(self) -> str:
        """The column that has the name of the model, and its dagger."""
        return "model" if "model" in self.cells or not self.cells else next(iter(self.cells))


@dataclass(frozen=True, slots=True)
class Shown:
    """A row with the records that it shows, of one way to answer."""

    records: Records
    row: Row
    mode: str

    def runs(self, record: str = "") -> Judgments | None:
        """The runs of a record, by default the row's own."""
        name = record or self.row.record
        if self.row.steered:
            return self.records.steered_bench(name)
        return self.records.bench(name, self.mode, benchmark=self.row.benchmark)

    def pair(self) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
        """Values (S, N) of what is subtracted and of the row, over common seeds."""
        if not self.row.steered:
            return paired_values(self.records, self.row.minus, self.row.record, mode=self.mode)
        minus, own = self.runs(self.row.minus), self.runs()
        return None if minus is None or own is None else common_values(minus, own)

    def votes(self) -> Values | None:
        """Expected accuracy (S, N, 2) of the row's number of votes, or None."""
        pool = self.records.pool(self.row.benchmark, self.row.record)
        key = ("votes", self.row.benchmark, self.row.record, self.row.votes)
        if pool is None or pool.size < self.row.votes:
            return None
        if key not in self.records.cache:
            self.records.cache[key] = majority(pool, self.row.votes)
        return self.records.cache[key]

    def label(self, column: str) -> str:
        """A cell that names the row."""
        if column != self.row.marked:
            return self.row.cells.get(column, "")
        name = display_name(self.records, self.row.record, fallback=self.row.cells.get(column, ""))
        return f"Voting@{self.row.votes}, {name}" if self.row.votes else name


Value = Interval | float | str | None
Kind = TypeVar("Kind", bound=Value)
COLUMNS: dict[str, Callable[[Shown], Value]] = {}


def column(function: Callable[[Shown], Kind]) -> Callable[[Shown], Kind]:
    """Put a function among those that `tables.toml` may name."""
    COLUMNS[function.__name__] = function
    return function


@column
def decoding(shown: Shown) -> str:
    """How the judge answered."""
    return "scores" if shown.row.record in HEAD_NAMES else DECODINGS[shown.mode]


@column
def minus(shown: Shown) -> str:
    """The name of what is subtracted."""
    return display_name(shown.records, shown.row.minus, fallback=shown.row.minus_title)


@column
def difference(shown: Shown) -> Value:
    """Accuracy minus that of another model on the same seeds and pairs.

    Nothing for the other itself, for the same runs by construction, and where the row has no runs.
    """
    other, record = shown.row.minus, shown.row.record
    if other in ("", record, shown.records.same_as(record)) or shown.runs() is None:
        return ""
    values = shown.pair()
    return None if values is None else paired_interval(*values)


@column
def stress(shown: Shown) -> str:
    """For example "3 of 5 collapsed, 15 to 95 %", on the fresh seeds of the stress setting."""
    if shown.mode != "greedy":
        return ""
    about = shown.records.stress()
    if about is None:
        return NOT_RUN
    if shown.row.record not in about["fresh"]:
        return ""
    ended = about["fresh"][shown.row.record]
    count, total = sum(ended["collapsed"]), len(ended["collapsed"])
    low, high = share_interval(count, total, method="exact")
    text = f"{count} of {total} collapsed, {100 * low:.0f} to {100 * high:.0f} %"
    return ", ".join(filter(None, [text, IDENTICAL.get(ended["same_as"], "")]))


@column
def acted(shown: Shown) -> str:
    """For example "Pre-CLIP 0, filter 12 of 180 steps", over all seeds, or whose runs the row repeats."""
    frame, same = shown.records.training(shown.row.record), identical(shown)
    if same or frame is None or "log_ratio_max" not in frame:
        return same
    hits = frame[[name for name in frame if name.startswith("pre_clip_")]].sum(axis=1) > 0
    filtered = frame["filtered_positive"] + frame["filtered_negative"] > 0
    return f"Pre-CLIP {hits.sum()}, filter {filtered.sum()} of {len(frame)} steps"


@column
def identical(shown: Shown) -> str:
    """Whose runs the row repeats by construction, if it does."""
    return IDENTICAL.get(shown.records.same_as(shown.row.record), "")


@column
def collapsed(shown: Shown) -> str:
    """For example "0 of 3", at the profile's own settings; nothing for what is not trained by RL."""
    record = shown.row.record
    ended = [] if "sft" in record or record in HEAD_NAMES else shown.records.statuses(record)
    return f"{ended.count('collapsed')} of {len(ended)}" if ended else ""


@column
def annotator_by(shown: Shown) -> str:
    """The annotator of the cold start, and whether it is a model or a script."""
    about, title = shown.records.annotator(_arm(shown)), shown.row.cells["annotator"]
    if about is None:
        return title
    return display_name(shown.records, shown.row.record, fallback=f"{title} ({about['annotator'].iloc[0]})")


@column
def right_at_once(shown: Shown) -> str:
    """Share of the pairs whose first answer by the annotator was right, in percent."""
    about = shown.records.annotator(_arm(shown))
    return "" if about is None else f"{100 * about['first_attempt_accuracy'].mean():.2f}"


@column
def examples(shown: Shown) -> str:
    """How many examples the annotator gave the cold start, the mean over seeds."""
    about = shown.records.annotator(_arm(shown))
    return "" if about is None else f"{round(float(np.mean(about['examples']))):,}"


def cell_title(cell: str) -> str:
    """A cell of the stress grid in words; a name of another form stays as it is."""
    pattern = r"rate_([^_]+)_epochs_(\d+)(?:_lag_(\d+))?(?:_(hard|sure))?(?:_(\w+))?"
    if not (parts := re.fullmatch(pattern, cell)):
        return cell
    rate, passes, lag, pairs, precision = parts.groups()
    said = [f"rate {rate}", f"passes {passes}", lag and f"lag {lag}", pairs and f"{pairs} pairs", precision]
    return ", ".join(filter(None, said))


def _arm(shown: Shown) -> str:
    return shown.row.record.removeprefix("annotator_")


def _accuracy(shown: Shown, *, of: str) -> Interval | None:
    """Accuracy over all pairs ("overall"), the groups' mean ("macro"), a group's, or Acc+ ("all_right")."""
    if shown.row.votes:
        return _accuracy_of_votes(shown, of)
    runs = shown.runs()
    if shown.row.steered:
        return None if runs is None else mean_interval(runs.values)
    scores = score(shown.records, shown.row.record, shown.mode, benchmark=shown.row.benchmark)
    if scores is None:
        return None
    whole = {"overall": scores.overall, "macro": scores.macro, "all_right": scores.all_right}
    return (whole | scores.groups).get(of)


def _accuracy_of_votes(shown: Shown, of: str) -> Interval | None:
    pool, each = shown.records.pool(shown.row.benchmark, shown.row.record), shown.votes()
    if pool is None or each is None:
        return None
    if of == "all_right":
        names = sorted(set(pool.questions.tolist()))
        # Answers to different pairs are drawn independently.
        return mean_interval(np.stack([each[:, pool.questions == q].prod(1).mean(-1) for q in names], axis=1))
    values = each.mean(axis=-1)
    if of == "macro":
        return mean_interval(macro_values(values, pool.groups))
    part = values if of == "overall" else values[:, pool.groups == of]
    return mean_interval(part) if part.size else None


def _behaviour(shown: Shown, *, field: str) -> Value:
    runs = shown.runs()
    if runs is None:
        return None if field == "accuracy" else ""
    key = ("behaviour", shown.row.benchmark, shown.row.steered, shown.row.record, shown.mode)
    if key not in shown.records.cache:
        shown.records.cache[key] = behaviour(runs)
    value = getattr(shown.records.cache[key], field)
    return f"{value:.1f}" if field == "mean_tokens" else value


COLUMNS |= {name: partial(_accuracy, of=name) for name in ACCURACIES}
COLUMNS |= {name: partial(_behaviour, field=name) for name in Behaviour.__dataclass_fields__}
