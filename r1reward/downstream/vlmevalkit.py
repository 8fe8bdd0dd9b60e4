"""The downstream benchmarks at full size, run by VLMEvalKit: its command, and its results as our records.

The harness has the data sets, their prompts and their judges, so nothing of it is repeated here. It is called
as at commit e8e78f0; the columns of its result files are from that code, no file of a real run was seen.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from r1reward.data.storage import write_rows
from r1reward.downstream.benchmarks import BENCHMARKS, Benchmark
from r1reward.files import write_json
from r1reward.settings import Profile

# Columns of an item's result, in the order they are looked for.
_RESULT_COLUMNS = ("hit", "score")
# What stands for points: truth values, and verdicts in which B is the model. "Unknown" is no win.
_POINTS = {"True": 1.0, "False": 0.0, "B>A": 1.0, "B>>A": 1.0}
_POINTS |= dict.fromkeys(("A>>B", "A>B", "A=B", "Unknown"), 0.0)


def harness_command(profile: Profile, *, checkpoint: str, name: str, out: Path) -> str:
    """Write `out/<name>.json` for `run.py` of VLMEvalKit and return the command, to be run in its folder.

    Multiple choice and yes or no are scored by exact matching, without a server; LLaVA-Wild and WildVision
    ask the harness's own judge, which needs a key in the environment.
    """
    model = {
        "class": "Qwen2VLChat",
        "model_path": checkpoint,
        "min_pixels": profile.model.min_pixels,
        "max_pixels": profile.model.max_pixels,
        "use_custom_prompt": False,
    }
    config = write_json(out / f"{name}.json", {"model": {name: model}})
    exact = [one.name for one in BENCHMARKS.values() if not one.open]
    judged = [one.name for one in BENCHMARKS.values() if one.open]
    words = ["python", "run.py", "--config", str(config.resolve()), "--model", name]
    words += ["--work-dir", str(out.resolve())]
    calls = [[*words, "--data", *exact, "--judge", "exact_matching"], [*words, "--data", *judged]]
    return "\n".join(f"PRED_FORMAT=tsv {shlex.join(call)}" for call in calls)


def read_results(folder: Path, name: str) -> dict[str, list[dict[str, Any]]]:
    """Record lines of each benchmark from the newest result files below `folder/<name>`.

    They are what `evaluate_policy` records. A benchmark without a result file is left out; a file whose
    rows have no result is a ValueError.
    """
    found = {}
    for benchmark in BENCHMARKS.values():
        paths = [*folder.glob(f"{name}/**/{name}_{benchmark.name}_*.tsv")]
        tables = [(path, _table(path)) for path in sorted(paths, key=lambda path: path.stat().st_mtime)]
        scored = [one for one in tables if set(_RESULT_COLUMNS) & set(one[1].columns)]
        if scored:
            found[benchmark.name] = _lines(benchmark, *scored[-1])
    return found


def take_results(folder: Path, name: str, *, record: Path) -> bool:
    """Write what `read_results` finds as the records of a policy; returns whether there was anything."""
    found = read_results(folder, name)
    for benchmark, lines in found.items():
        write_rows(record / f"{benchmark}.jsonl", lines)
    return bool(found)


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)


def _lines(benchmark: Benchmark, path: Path, table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, str]] = table.to_dict("records")  # type: ignore[assignment]
    reference = fmean(float(row["gpt4_score"]) for row in rows) if "gpt4_score" in table.columns else 1.0
    lines = []
    for number, row in enumerate(rows, start=1):
        result = next(row[column] for column in _RESULT_COLUMNS if column in row)
        try:
            points = _POINTS[result] if result in _POINTS else max(float(result), 0.0) / reference
            lines.append({"points": points, "units": benchmark.units(row)})
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
    return lines
