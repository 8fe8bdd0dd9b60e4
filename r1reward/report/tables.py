"""The paper's tables with this run's rows, as frames of strings.

Every row says where it comes from: `source` is `paper`, `measured` or `scripted`; a measured row names
its profile, seeds and number of items, and `…_low`/`…_high` hold its 95 % interval. A row without a
record says "not run". `frame.attrs` holds "caption" and "notes". A † marks a model with scripted inputs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from r1reward.benchmarks import GROUP_COUNTS, TITLES, VL
from r1reward.report.paper import PAPER_FOLDER, paper_table
from r1reward.report.records import (
    COIN,
    DROP,
    HEAD_NAMES,
    MODEL_NAMES,
    MODES,
    VARIANT_NAMES,
    WRONG,
    Records,
)
from r1reward.report.scores import COMPARISONS, Behaviour, behaviour, compare, paired_values, score
from r1reward.stats import Interval

NOT_RUN = "not run"
DAGGER = "†"
DAGGER_NOTE = (
    f"{DAGGER} Something in the training was scripted: the annotator of the cold-start reasoning, and with "
    "it the answers from which the consistency judges learnt; for the scalar head, its pairs."
)
SHORT_DAGGER_NOTE = f"{DAGGER} something in the training was scripted."
_UNPARSED = {
    WRONG: "unparsed answers wrong",
    DROP: "pairs with an unparsed answer left out",
    COIN: "unparsed answers decided by a coin",
}
GROUPING_NOTE = (
    "The paper's R1-Reward row is 309/484, 384/448 and 206/318 (899/1250): the release files 301 "
    "hallucination pairs under general. Its group and macro columns therefore do not compare with rows "
    "that follow the official 183/749/318. Some printed overall accuracies are means of the groups, as the "
    "same run's 71.44 beside 71.92; the audit says which. Measured ones are over pairs."
)
WORLD_NOTE = (
    "A measured row is this profile's model on this profile's pairs. Where these are not the paper's, "
    "it compares with other measured rows only."
)
# What stands in the columns of tables about VL-RewardBench.
VL_COLUMNS = {**{group: group for group in GROUP_COUNTS[VL]}, "overall_acc": "overall", "macro_acc": "macro"}
_SOURCE_COLUMNS = ["source", "profile", "seeds", "n"]
_EXTENDED_SUFFIXES = ("", "_low", "_high")


def table_01(records: Records, *, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """Table 1: the judge prompt, as printed."""
    printed = paper_table(1, folder=paper).assign(source="paper")
    note = (
        "The profile paper asks by this prompt, as the release writes it (r1reward/prompts/judge_paper.txt); "
        "the tiny model of mini by a shorter one (judge_mini.txt)."
    )
    return titled(printed, "Table 1. Prompt of the judge.", [note])


def table_02(records: Records, *, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """Table 2: preference pairs in each source and taken from it."""
    printed = paper_table(2, folder=paper).assign(source="paper", profile="", dropped="")
    sources = dict((records.data() or {}).get("sources", {}))
    rows = []
    for dataset in printed["dataset"]:
        counts = sources.pop(dataset.lower().replace("-", "_"), None)
        rows.append(_source_row(dataset, counts, records.profile))
    rows += [_source_row(name, counts, records.profile) for name, counts in sources.items()]
    frame = join_tables(printed, rows)
    notes = [
        "The paper samples 100k pairs from its first four data sets together.",
        "Measured rows count this profile's files, which have the sources' own schemas; "
        "those of the mini world are generated. Dropped: rows that make no preference pair, such as ties.",
    ]
    return titled(frame, "Table 2. Data sets used for training.", notes)


def cold_start(records: Records) -> pd.DataFrame:
    """What the data construction made: balance of positions, attempts of the annotator, set sizes."""
    data = records.data()
    if data is None:
        rows = [{"quantity": "cold start", "value": NOT_RUN}]
        return titled(pd.DataFrame(rows), "Cold-start data.", [])
    annotator = str(data.get("annotator", "scripted"))
    by_annotator = "scripted" if "scripted" in annotator.lower() else "measured"
    rows = [("preferred response at position " + key, n, "measured") for key, n in data["positions"].items()]
    rows += [(_attempts_title(key), n, by_annotator) for key, n in data["attempts"].items()]
    rows += [
        ("SFT examples", data["sft_examples"], by_annotator),
        ("RL examples", data["rl_examples"], by_annotator),
    ]
    cells = [
        {"quantity": name, "value": f"{value:,}", "source": source, "profile": records.profile}
        for name, value, source in rows
    ]
    return titled(pd.DataFrame(cells), "Cold-start data.", [f"Annotator: {annotator}."])


def base_model(records: Records) -> pd.DataFrame:
    """Perception of the base model on held-out scenes, one row a skill."""
    base = records.base()
    if base is None:
        return titled(
            pd.DataFrame([{"skill": "all", "accuracy": NOT_RUN}]), "Base model on held-out scenes.", []
        )
    rows = []
    for skill, entry in base.items():
        if not isinstance(entry, dict) or "accuracy" not in entry:
            continue
        low, high = entry.get("interval", (None, None))
        row = {
            "skill": skill.replace("_", " "),
            "accuracy": percent(entry["accuracy"]),
            "n": f"{entry['n']:,}",
        }
        row |= {"accuracy_low": percent(low), "accuracy_high": percent(high)}
        rows.append(row | {"source": "measured", "profile": records.profile})
    columns = ["skill", *(f"accuracy{s}" for s in _EXTENDED_SUFFIXES), "source", "profile", "n"]
    return titled(_frame(rows, columns), "Base model on held-out scenes, accuracy in percent.", [])


def judge_behaviour(records: Records) -> pd.DataFrame:
    """How each judge answers: by order and position, consistency, share of "1", length; blanked pictures."""
    rows = []
    for model in MODEL_NAMES:
        for mode, decoding in (MODES | {"blank_greedy": "greedy, picture blanked"}).items():
            runs = records.bench(model, mode)
            row = {"model": display_name(records, model), "decoding": decoding, "source": "measured"}
            if runs is None:
                rows.append(row | {"accuracy": NOT_RUN, "source": NOT_RUN, "profile": records.profile})
                continue
            rows.append(row | _behaviour_cells(behaviour(runs)) | run_cells(records, *runs.values.shape))
    columns = ["model", "decoding", *_BEHAVIOUR_COLUMNS, *_SOURCE_COLUMNS]
    frame = _frame(rows, columns)
    notes = [
        'All but mean tokens in percent. Answer "1": its share among parsed answers; 50 is unbiased.',
        "First, second: the better response stood there. Given, swapped: the file's order, its reverse.",
        *left_out_notes(records),
        DAGGER_NOTE,
    ]
    return titled(frame, "How the judges answer on VL-RewardBench.", notes)


def paired_differences(records: Records) -> pd.DataFrame:
    """Paired differences in accuracy between models, with intervals, in percentage points."""
    rows = []
    for a, b in COMPARISONS:
        for mode, decoding in MODES.items():
            row = {"model": display_name(records, b), "minus": display_name(records, a), "decoding": decoding}
            rows.append(row | difference_cells(records, a, b, mode=mode))
    columns = [
        "model",
        "minus",
        "decoding",
        *(f"difference{s}" for s in _EXTENDED_SUFFIXES),
        *_SOURCE_COLUMNS,
    ]
    frame = _frame(rows, columns)
    notes = [
        "Percentage points of overall accuracy; bootstrap over seeds, then pairs, both orders together.",
        *left_out_notes(records),
        DAGGER_NOTE,
    ]
    return titled(frame, "Paired differences on VL-RewardBench.", notes)


def left_out_notes(records: Records, *, benchmark: str = VL) -> list[str]:
    """A note where faulty rows of a benchmark are missing from the numbers below it; else none."""
    left_out = records.left_out(benchmark)
    if not left_out:
        return []
    scored = "Scores are over the others, as the official scripts count the answers they are given."
    return [f"{TITLES[benchmark]}: {left_out}. {scored}"]


def interval_note(records: Records) -> str:
    """What measured accuracies are."""
    policy = _UNPARSED[records.unparsed()]
    interval = "95 % bootstrap interval over seeds, then pairs."
    return f"Measured: mean over both orders of a pair, {policy}, {interval}"


def display_name(records: Records, model: str, *, fallback: str = "") -> str:
    """A model's name in tables and figures, with a dagger if a script stands behind its training."""
    name = fallback or (MODEL_NAMES | HEAD_NAMES | VARIANT_NAMES)[model]
    return name + DAGGER if records.scripted(model) else name


_BEHAVIOUR_COLUMNS = tuple(Behaviour.__dataclass_fields__)


def _source_row(dataset: str, counts: dict | None, profile: str) -> dict[str, str]:
    row = {"dataset": dataset, "source": "measured", "profile": profile}
    if counts is None:
        return row | {"original": NOT_RUN, "sample": NOT_RUN, "source": NOT_RUN}
    dropped = sum(counts.get("dropped", {}).values())
    return row | {
        "original": f"{counts['original']:,}",
        "sample": f"{counts['sampled']:,}",
        "dropped": f"{dropped:,}",
    }


def score_cells(
    records: Records, model: str, *, mode: str, columns: Mapping[str, str], benchmark: str = VL
) -> dict[str, str]:
    """A model's accuracies with intervals and where they come from, or "not run".

    `columns` says what stands in each column: a group, "overall", "macro" or "all_right".
    """
    scores = score(records, model, mode, benchmark=benchmark)
    if scores is None:
        return {column: NOT_RUN for column in columns} | {"source": NOT_RUN, "profile": records.profile}
    cells = run_cells(records, scores.num_seeds, scores.num_pairs) | {"source": "measured"}
    whole = {"overall": scores.overall, "macro": scores.macro, "all_right": scores.all_right}
    for column, meaning in columns.items():
        cells |= interval_cells(column, (whole | scores.groups).get(meaning))
    return cells


def interval_cells(column: str, interval: Interval | None) -> dict[str, str]:
    """A share in percent with the bounds of its interval, or "not run"."""
    if interval is None:
        return {column: NOT_RUN}
    numbers = (interval.estimate, interval.low, interval.high)
    return {
        column + suffix: percent(number) for suffix, number in zip(_EXTENDED_SUFFIXES, numbers, strict=True)
    }


def difference_cells(records: Records, a: str, b: str, *, mode: str) -> dict[str, str]:
    """The paired difference b - a with its interval, or "not run"."""
    values = paired_values(records, a, b, mode=mode)
    if values is None:
        return {"difference": NOT_RUN, "source": NOT_RUN, "profile": records.profile}
    cells = interval_cells("difference", compare(records, a, b, mode)) | {"source": "measured"}
    return cells | run_cells(records, *values[0].shape)


def run_cells(records: Records, num_seeds: int, num_pairs: int) -> dict[str, str]:
    """Whose numbers a row has: profile, seeds and number of items."""
    return {"profile": records.profile, "seeds": str(num_seeds), "n": str(num_pairs)}


def _behaviour_cells(shown: Behaviour) -> dict[str, str]:
    cells = {name: percent(getattr(shown, name)) for name in _BEHAVIOUR_COLUMNS if name != "mean_tokens"}
    return cells | {"mean_tokens": f"{shown.mean_tokens:.1f}"}


def _attempts_title(key: str) -> str:
    return "no attempt right" if key == "failed" else f"right at attempt {key}"


def percent(share: float | None) -> str:
    """A share as percent with two decimals; nothing for None and NaN."""
    return "" if share is None or share != share else f"{100 * share + 0.0:.2f}"


def _columns(
    printed: pd.DataFrame, rows: Sequence[dict[str, str]], intervals: Sequence[str]
) -> Iterator[str]:
    known = list(printed.columns) + [key for row in rows for key in row]
    for column in dict.fromkeys(known):
        if column in intervals:
            yield from (column + suffix for suffix in _EXTENDED_SUFFIXES)
        elif column not in _SOURCE_COLUMNS and not column.endswith(("_low", "_high")):
            yield column
    yield from (column for column in _SOURCE_COLUMNS if column in known or intervals)


def join_tables(
    printed: pd.DataFrame, rows: Sequence[dict[str, str]], *, intervals: Sequence[str] = ()
) -> pd.DataFrame:
    """The printed rows, then ours; a column of `intervals` is followed by its bounds."""
    columns = list(_columns(printed, rows, intervals))
    return _frame([*printed.to_dict("records"), *rows], columns)


def _frame(rows: Sequence[dict[Any, str]], columns: Sequence[str]) -> pd.DataFrame:
    return pd.DataFrame(
        [{column: row.get(column, "") for column in columns} for row in rows], columns=list(columns)
    )


def titled(frame: pd.DataFrame, caption: str, notes: Sequence[str]) -> pd.DataFrame:
    """The frame as text, with caption and notes."""
    frame = frame.astype(str)
    frame.attrs = {"caption": caption, "notes": list(notes)}
    return frame
