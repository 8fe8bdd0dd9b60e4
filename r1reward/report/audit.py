"""The paper's printed numbers held against each other: nothing here is measured, all of it is arithmetic."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from r1reward.benchmarks import (
    GROUP_COUNTS,
    MM_RLHF,
    MM_RLHF_QUESTIONS,
    MULTIMODAL,
    TITLES,
    VL,
    VL_RELEASED_COUNTS,
)
from r1reward.config import load_profile
from r1reward.report.differences import differences
from r1reward.report.paper import PAPER_FOLDER, paper_table, paper_values
from r1reward.report.records import Records
from r1reward.report.tables import NOT_RUN, percent, titled

_MULTIMODAL_COLUMNS = (
    "general_correctness",
    "general_preference",
    "knowledge",
    "reasoning_math",
    "reasoning_coding",
    "safety",
    "vqa",
)
PRINTED = {
    3: (tuple(GROUP_COUNTS[VL]), "overall_acc"),
    4: (_MULTIMODAL_COLUMNS, "overall"),
    5: (tuple(GROUP_COUNTS[VL]), "overall_acc"),
    6: (tuple(GROUP_COUNTS[VL]), "overall_acc"),
    7: (tuple(GROUP_COUNTS[VL]), "overall_acc"),
    8: (tuple(GROUP_COUNTS[MM_RLHF]), "acc"),
    10: (tuple(GROUP_COUNTS[VL]), "overall_acc"),
}
BENCHMARK_OF = {3: VL, 4: MULTIMODAL, 5: VL, 6: VL, 7: VL, 8: MM_RLHF, 10: VL}
OWN_ROWS = ("R1-Reward", "Voting@15")
# Table and column of each gain in a sentence.
GAINS = {
    "vl_rewardbench_gain_over_ixc": (3, "overall_acc"),
    "abstract_vl_rewardbench_gain": (3, "overall_acc"),
    "introduction_vl_rewardbench_gain": (3, "overall_acc"),
    "multimodal_rewardbench_gain": (4, "overall"),
    "introduction_multimodal_rewardbench_gain": (4, "overall"),
    "introduction_mm_rlhf_gain": (8, "acc"),
}
_LABELS = ("model", "clip_ratio", "consistency_weight", "annotator")


def overall_rules(*, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """By which rule each printed overall accuracy follows from the groups printed in its row."""
    found = []
    for number, (columns, overall) in PRINTED.items():
        rules = _rules(number)
        for row in paper_table(number, folder=paper).to_dict("records"):
            if not all(_is_number(row[name]) for name in (*columns, overall)):
                continue
            name = ", ".join(row[label] for label in _LABELS if label in row)
            computed = {rule: _mean(row, columns, weights) for rule, weights in rules.items()}
            half = _half_unit([row[column] for column in (*columns, overall)])
            fits = [rule for rule, mean in computed.items() if abs(mean - float(row[overall])) <= 2 * half]
            shown = {rule: f"{mean:.2f}" for rule, mean in computed.items()}
            line = {"table": str(number), "row": name, "printed": row[overall]} | shown
            found.append(line | {"follows by": " and ".join(fits) or "no rule"})
    notes = [
        "Over pairs: groups weighted by their official sizes. Released: by the sizes that the released "
        "grouping of VL-RewardBench gives. Printed groups may be off by half a unit of the row's last digit."
    ]
    return titled(pd.DataFrame(found).fillna(""), "Overall accuracies from their own groups.", notes)


def whole_counts(*, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """Whether the shares in R1-Reward's rows are whole numbers of pairs, by the official groups or others."""
    found = []
    for number in (3, 4, 8):
        table = paper_table(number, folder=paper).set_index("model")
        for model in OWN_ROWS:
            row = table.loc[model].to_dict()
            for column, (group, size) in zip(
                PRINTED[number][0], GROUP_COUNTS[BENCHMARK_OF[number]].items(), strict=True
            ):
                line = {"table": str(number), "model": model, "group": group, "printed": row[column]}
                line["official"] = _count(row[column], size)
                line["released"] = _count(row[column], VL_RELEASED_COUNTS[group]) if number == 3 else ""
                found.append(line)
            if number == 8:
                line = {"table": "8", "model": model, "group": "questions (Acc+)", "printed": row["acc_plus"]}
                questions = sum(MM_RLHF_QUESTIONS.values())
                found.append(line | {"official": _count(row["acc_plus"], questions), "released": ""})
    notes = [
        "Official: a whole number of pairs of the group as the benchmark's own script counts it; released: "
        "as the authors' get_acc.py does. None: no such number gives the printed share, rounded or cut."
    ]
    return titled(pd.DataFrame(found), "Printed shares as counts.", notes)


def gains(*, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """The gains of the text, recomputed from the tables in points and relative, over every other row."""
    values, found = paper_values(folder=paper), []
    for name, (number, column) in GAINS.items():
        value = values[name]
        rows = [
            row for row in paper_table(number, folder=paper).to_dict("records") if _is_number(row[column])
        ]
        own = {row["model"]: float(row[column]) for row in rows if row["group"] == "Ours"}
        if number == 8:
            own["Voting@5 (text)"] = float(values["mm_rlhf_voting_5"].value)
        others = {row["model"]: float(row[column]) for row in rows if row["group"] != "Ours"}
        best = max(others.values())
        fits = []
        for (model, ours), (other, theirs) in itertools.product(own.items(), others.items()):
            for kind, size in (("points", ours - theirs), ("relative", 100 * (ours / theirs - 1))):
                if how := _fits(size, float(value.value)):
                    rank = ", the best other row" if theirs == best else ""
                    fits.append(f"{model} over {other}{rank}, {kind}: {size:.2f} {how}")
        line = {"section": value.section, "printed": value.printed, "quote": value.quote}
        found.append(line | {"follows from": "; ".join(fits) or "no two rows of the table"})
    notes = [
        "Every row of R1-Reward was tried against every other row of the table. Among so many, two may fit "
        "by chance: where the other row is not the best one, a fit is a possibility and no evidence."
    ]
    return titled(pd.DataFrame(found), "Gains in the text, recomputed.", notes)


def best_by_dimension(*, paper: Path = PAPER_FOLDER) -> pd.DataFrame:
    """R1-Reward and the best other row in each column of Table 4."""
    rows = paper_table(4, folder=paper).to_dict("records")
    own = next(row for row in rows if row["model"] == "R1-Reward")
    found = []
    for column in ("overall", *PRINTED[4][0]):
        best = max((row for row in rows if row["group"] != "Ours"), key=lambda row: float(row[column]))
        ahead = float(own[column]) - float(best[column])
        line = {"column": column.replace("_", " "), "R1-Reward": own[column], "best other": best[column]}
        line["of"] = best["model"]
        word = "best" if ahead > 0 else "equal" if ahead == 0 else "not best"
        found.append(line | {"points ahead": f"{ahead:+.1f}", "R1-Reward is": word})
    notes = ['The text: "R1-Reward achieves the best performance across all dimensions" (§4.1).']
    return titled(pd.DataFrame(found), "R1-Reward in each column of Table 4.", notes)


def released_settings() -> pd.DataFrame:
    """Settings in which the authors' released script differs from the paper, from the profiles."""
    paper, released = (_flat(load_profile(name).model_dump()) for name in ("paper", "paper+released"))
    found = [
        {"setting": key, "paper": str(paper[key]), "released script": str(released[key])}
        for key in paper
        if paper[key] != released[key] and key != "name"
    ]
    notes = ["The preset `released` is laid over any profile: `--profile mini+released`."]
    return titled(pd.DataFrame(found), "Released code against the paper.", notes)


def always_one(records: Records) -> pd.DataFrame:
    """What a judge that always says 1 scores under each protocol, computed by the scorers of this package."""
    scored = records.protocols()
    if scored is None:
        row = {"benchmark": "all", "accuracy": NOT_RUN, "source": NOT_RUN, "profile": records.profile}
        return titled(pd.DataFrame([row]), "A judge that always says 1.", [])
    found = [
        {
            "benchmark": TITLES[line["benchmark"]],
            "protocol": line["protocol"],
            "accuracy": percent(line["accuracy"]),
            "source": "measured",
            "profile": records.profile,
        }
        for line in scored
    ]
    notes = ["VL-RewardBench's own script draws the order of each item anew, without a seed."]
    return titled(pd.DataFrame(found), "A judge that always says 1, accuracy in percent.", notes)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return found


def _rules(number: int) -> dict[str, Mapping[str, int]]:
    sizes = GROUP_COUNTS[BENCHMARK_OF[number]]
    rules = {"mean of the groups": dict.fromkeys(sizes, 1), "over pairs": sizes}
    return rules | ({"released": VL_RELEASED_COUNTS} if BENCHMARK_OF[number] == VL else {})


def _mean(row: Mapping[str, str], columns: Sequence[str], weights: Mapping[str, int]) -> float:
    parts = zip(columns, weights.values(), strict=True)
    return sum(float(row[column]) * weight for column, weight in parts) / sum(weights.values())


def _half_unit(cells: Sequence[str]) -> float:
    """Half a unit of the last digit of a row; rows taken from elsewhere were filled up with zeros."""
    digits = max(len(cell.rstrip("0").partition(".")[2]) for cell in cells)
    return 0.5 * 10.0**-digits + 1e-9


def _count(printed: str, size: int) -> str:
    """ "309/484", or "none" if no whole number of `size`, rounded or cut, gives what is printed."""
    unit = 10.0 ** -len(printed.partition(".")[2])
    for count in range(size + 1):
        off = 100 * count / size - float(printed)
        if abs(off) <= unit / 2 + 1e-9 or 0 <= off < unit:
            return f"{count}/{size}"
    return "none"


def _fits(size: float, printed: float) -> str:
    """How a gain gives what is printed with one digit; nothing if it does not."""
    if abs(size - printed) <= 0.05:
        return "(rounded)"
    return "(cut)" if 0 <= size - printed < 0.1 else ""


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


AUDITS = {
    "audit_overall": overall_rules,
    "audit_counts": whole_counts,
    "audit_gains": gains,
    "audit_differences": differences,
    "audit_dimensions": best_by_dimension,
    "audit_settings": released_settings,
}
