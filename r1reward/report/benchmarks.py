"""Tables 3, 4 and 8: the paper's reward benchmarks with this run's judges below its rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from r1reward.benchmarks import GROUP_COUNTS, MM_RLHF, MULTIMODAL, VL
from r1reward.report.paper import PAPER_FOLDER, paper_table
from r1reward.report.records import HEAD_NAMES, MODEL_NAMES, MODES, REFERENCE, Records
from r1reward.report.scores import bootstrap, macro_values
from r1reward.report.tables import (
    DAGGER_NOTE,
    GROUPING_NOTE,
    NOT_RUN,
    VL_COLUMNS,
    WORLD_NOTE,
    display_name,
    interval_cells,
    interval_note,
    join_tables,
    left_out_notes,
    run_cells,
    score_cells,
    titled,
)
from r1reward.report.voting import Pool, Values, majority
from r1reward.stats import Interval

VOTES = (5, 15)


@dataclass(frozen=True, slots=True)
class BenchmarkTable:
    """A table of the paper: `columns` are its columns of accuracies with what we put there.

    That is a group of the benchmark, or "overall" (over pairs), "macro" (mean of the groups) or
    "all_right" (share of questions of which all pairs are right). A column that the paper does not have
    stands behind its own.
    """

    benchmark: str
    caption: str
    columns: Mapping[str, str]
    notes: tuple[str, ...]


BENCHMARK_TABLES = {
    3: BenchmarkTable(
        VL,
        "Table 3. VL-RewardBench, accuracy in percent (50 is chance).",
        VL_COLUMNS,
        (GROUPING_NOTE,),
    ),
    4: BenchmarkTable(
        MULTIMODAL,
        "Table 4. Multimodal RewardBench, accuracy in percent (50 is chance).",
        {
            "overall": "macro",
            "general_correctness": "correctness",
            "general_preference": "preference",
            "knowledge": "knowledge",
            "reasoning_math": "math",
            "reasoning_coding": "coding",
            "safety": "safety",
            "vqa": "vqa",
            "over_pairs": "overall",
        },
        (
            "The paper's overall is the mean of the seven columns, not the accuracy over all pairs; both are "
            "given for this run. Safety is PAIRS alone where the Hateful Memes items are withheld.",
        ),
    ),
    8: BenchmarkTable(
        MM_RLHF,
        "Table 8. MM-RLHF-RewardBench, percent (50 is chance for Acc).",
        {**{group: group for group in GROUP_COUNTS[MM_RLHF]}, "acc": "overall", "acc_plus": "all_right"},
        (
            "Acc+ is the share of questions of which every pair is right, in each order by itself; its "
            "chance level depends on how many pairs a question has.",
            "No pair that this run trains on has a video, as no subset of Table 2 has: its judges were never "
            "taught to compare answers about videos, and are close to chance there.",
        ),
    ),
}


_BASE_NOTE = (
    "The base model has not learnt to give a verdict, and an answer without one is wrong: how many of its "
    "answers have none stands in the table of how the judges answer."
)


def benchmark_table(records: Records, number: int, *, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """Table 3, 4 or 8: the paper's rows, then this run's models, greedy and sampled, and scored by heads."""
    table = BENCHMARK_TABLES[number]
    printed = paper_table(number, folder=paper).assign(source="paper")
    printed.insert(4, "decoding", "")
    shown = [(model, mode, decoding) for model in MODEL_NAMES for mode, decoding in MODES.items()]
    shown += [(model, "greedy", "scores") for model in HEAD_NAMES]
    rows = []
    for model, mode, decoding in shown:
        row = {"group": "This run", "model": display_name(records, model), "decoding": decoding}
        cells = score_cells(records, model, mode=mode, columns=table.columns, benchmark=table.benchmark)
        rows.append(row | cells)
    rows += _voting_rows(records, table)
    frame = join_tables(printed, rows, intervals=list(table.columns))
    missing = left_out_notes(records, benchmark=table.benchmark)
    notes = [*table.notes, WORLD_NOTE, interval_note(records), *missing, _BASE_NOTE, DAGGER_NOTE]
    return titled(frame, table.caption, notes)


def _voting_rows(records: Records, table: BenchmarkTable) -> list[dict[str, str]]:
    """Voting@5 and Voting@15 of StableReinforce, from the answers of notebook 06."""
    pool, rows = records.pool(table.benchmark, REFERENCE), []
    for k in VOTES:
        row = {"group": "This run", "model": f"Voting@{k}, {display_name(records, REFERENCE)}"}
        row["decoding"] = MODES["sampled"]
        if pool is None or pool.size < k:
            cells = dict.fromkeys(table.columns, NOT_RUN) | {"source": NOT_RUN, "profile": records.profile}
        else:
            each = majority(pool, k)
            cells = {"source": "measured", **run_cells(records, *each.shape[:2])}
            for column, meaning in table.columns.items():
                cells |= interval_cells(column, _of_votes(pool, each, meaning))
        rows.append(row | cells)
    return rows


def _of_votes(pool: Pool, each: Values, meaning: str) -> Interval | None:
    """The interval of what a column means, from the expected accuracy (S, N, 2) of votes."""
    values = each.mean(axis=-1)
    if meaning == "all_right":
        names = sorted(set(pool.questions.tolist()))
        # Answers to different pairs are drawn independently.
        return bootstrap(np.stack([each[:, pool.questions == q].prod(1).mean(-1) for q in names], axis=1))
    if meaning == "macro":
        return bootstrap(macro_values(values, pool.groups))
    part = values if meaning == "overall" else values[:, pool.groups == meaning]
    return bootstrap(part) if part.size else None
