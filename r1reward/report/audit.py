"""The paper's printed numbers held against each other, and against the released code and this one.

Nothing here is measured but the judge that always says 1. Where the three do different things is told in
`differences.toml`.
"""

from __future__ import annotations

import ast
import itertools
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
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
from r1reward.report.layout import NOT_RUN, percent
from r1reward.report.paper import paper_table, paper_values
from r1reward.report.records import Records
from r1reward.report.tables import titled

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


def overall_rules() -> pd.DataFrame:
    """By which rule each printed overall accuracy follows from the groups printed in its row."""
    lines = []
    for number, (columns, overall) in PRINTED.items():
        rules = _rules(number)
        for row in paper_table(number).to_dict("records"):
            if not all(_is_number(row[name]) for name in (*columns, overall)):
                continue
            name = ", ".join(row[label] for label in _LABELS if label in row)
            computed = {rule: _mean(row, columns, weights) for rule, weights in rules.items()}
            half = _half_unit([row[column] for column in (*columns, overall)])
            fits = [rule for rule, mean in computed.items() if abs(mean - float(row[overall])) <= 2 * half]
            shown = {rule: f"{mean:.2f}" for rule, mean in computed.items()}
            line = {"table": str(number), "row": name, "printed": row[overall]} | shown
            lines.append(line | {"follows by": " and ".join(fits) or "no rule"})
    return titled(pd.DataFrame(lines).fillna(""), "audit_overall")


def whole_counts() -> pd.DataFrame:
    """Whether the shares in R1-Reward's rows are whole numbers of pairs, by the official groups or others."""
    lines = []
    for number in (3, 4, 8):
        table = paper_table(number).set_index("model")
        for model in OWN_ROWS:
            row = table.loc[model].to_dict()
            for column, (group, size) in zip(
                PRINTED[number][0], GROUP_COUNTS[BENCHMARK_OF[number]].items(), strict=True
            ):
                line = {"table": str(number), "model": model, "group": group, "printed": row[column]}
                line["official"] = _count(row[column], size)
                line["released"] = _count(row[column], VL_RELEASED_COUNTS[group]) if number == 3 else ""
                lines.append(line)
            if number == 8:
                line = {"table": "8", "model": model, "group": "questions (Acc+)", "printed": row["acc_plus"]}
                questions = sum(MM_RLHF_QUESTIONS.values())
                lines.append(line | {"official": _count(row["acc_plus"], questions), "released": ""})
    return titled(pd.DataFrame(lines), "audit_counts")


def gains() -> pd.DataFrame:
    """The gains of the text, recomputed from the tables in points and relative, over every other row."""
    values, lines = paper_values(), []
    for name, (number, column) in GAINS.items():
        value = values[name]
        rows = [row for row in paper_table(number).to_dict("records") if _is_number(row[column])]
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
        lines.append(line | {"follows from": "; ".join(fits) or "no two rows of the table"})
    return titled(pd.DataFrame(lines), "audit_gains")


def best_by_dimension() -> pd.DataFrame:
    """R1-Reward and the best other row in each column of Table 4."""
    rows = paper_table(4).to_dict("records")
    own = next(row for row in rows if row["model"] == "R1-Reward")
    lines = []
    for column in ("overall", *PRINTED[4][0]):
        best = max((row for row in rows if row["group"] != "Ours"), key=lambda row: float(row[column]))
        ahead = float(own[column]) - float(best[column])
        line = {"column": column.replace("_", " "), "R1-Reward": own[column], "best other": best[column]}
        line["of"] = best["model"]
        word = "best" if ahead > 0 else "equal" if ahead == 0 else "not best"
        lines.append(line | {"points ahead": f"{ahead:+.1f}", "R1-Reward is": word})
    return titled(pd.DataFrame(lines), "audit_dimensions")


def released_settings() -> pd.DataFrame:
    """Settings in which the authors' released script differs from the paper, from the profiles."""
    paper, released = (_flat(load_profile(name).model_dump()) for name in ("paper", "paper+released"))
    rows = [
        {"setting": key, "paper": str(paper[key]), "released script": str(released[key])}
        for key in paper
        if paper[key] != released[key] and key != "name"
    ]
    return titled(pd.DataFrame(rows), "audit_settings")


def always_one(records: Records) -> pd.DataFrame:
    """What a judge that always says 1 scores under each protocol, computed by the scorers of this package."""
    scored = records.protocols()
    if scored is None:
        row = {"benchmark": "all", "accuracy": NOT_RUN, "source": NOT_RUN, "profile": records.profile}
        return titled(pd.DataFrame([row]), "audit_always_one", records=records)
    rows = [
        {
            "benchmark": TITLES[line["benchmark"]],
            "protocol": line["protocol"],
            "accuracy": percent(line["accuracy"]),
            "source": "measured",
            "profile": records.profile,
        }
        for line in scored
    ]
    return titled(pd.DataFrame(rows), "audit_always_one", records=records)


def differences() -> pd.DataFrame:
    """A row a difference: the paper's words, the released code, what this code does, and what switches it.

    What this code does is read from the setting or constant that a row names. Raises ValueError for a setting
    or constant that is not there.
    """
    paper, released = (load_profile(name).model_dump() for name in ("paper", "paper+released"))
    rows = []
    for entry in read_differences():
        row = {"difference": entry["what"], "paper": f"“{entry['paper']}”" if entry["paper"] else "nothing"}
        row |= {"released code": entry["release"], "where": entry["place"], "this code": ours(entry, paper)}
        rows.append(row | {"switched by": _switch(entry, released)})
    fixed = sum(not row["switched by"] for row in rows)
    numbers = {"number": str(len(rows)), "fixed": str(fixed), "switched": str(len(rows) - fixed)}
    return titled(pd.DataFrame(rows), "audit_differences", values=numbers)


def read_differences() -> list[dict[str, str]]:
    """The rows of `differences.toml`."""
    text = files("r1reward.report").joinpath("differences.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)["difference"]


def ours(entry: Mapping[str, str], profile: Mapping[str, Any]) -> str:
    """What this code does: the value of a setting of the profile paper, of a constant, or words."""
    kind, _, name = entry["ours"].partition(" ")
    if kind == "setting":
        return f"{name} = {_setting(profile, name)}"
    if kind == "constant":
        file, _, name = name.partition(" ")
        return f"{name} = {_constant(file, name)}"
    return entry["ours"]


def _switch(entry: Mapping[str, str], released: Mapping[str, Any]) -> str:
    """The setting of a row with its value in the preset `released`; words as they are."""
    name = entry["switch"]
    return name if not name or " " in name else f"{name} = {_setting(released, name)}"


def _setting(profile: Mapping[str, Any], name: str) -> Any:
    value: Any = profile
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            raise ValueError(f"differences.toml: no setting is called {name}")
        value = value[part]
    return value


def _constant(file: str, name: str) -> Any:
    """A literal of a module, or of a class in it, read from its source: the module itself may need torch."""
    body = ast.parse(files("r1reward").joinpath(file).read_text(encoding="utf-8")).body
    *classes, name_of = name.split(".")
    for wanted in classes:
        body = next(
            (node.body for node in body if isinstance(node, ast.ClassDef) and node.name == wanted), []
        )
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        if any(isinstance(target, ast.Name) and target.id == name_of for target in targets):
            return ast.literal_eval(node.value)  # type: ignore[attr-defined]
    raise ValueError(f"differences.toml: {file} has no constant {name}")


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        flat |= _flat(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return flat


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
