"""The downstream benchmarks at full size, run by VLMEvalKit: its command, and its results as our records.

The harness has the data sets, their prompts and their judges, so nothing of it is repeated here. It is called
as at commit e8e78f0; the columns of its result files are from that code, no file of a real run was seen.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd

from r1reward.data.storage import write_rows
from r1reward.downstream.vlm_benchmarks import BENCHMARKS, Benchmark
from r1reward.engines.loading import checkpoint_hash
from r1reward.files import write_json
from r1reward.settings import Profile

# Columns of an item's result, in the order they are looked for.
_RESULT_COLUMNS = ("hit", "score")
_TRUTH = {"True": 1.0, "False": 0.0}
# Verdicts about WildVision in which the model, B, wins. Any other text is a tie there, so no win.
_WINS = ("B>A", "B>>A")

# Classes of the harness by benchmark.
_CLASSES = {
    "HallusionBench": "ImageYORNDataset",
    "MMBench_DEV_EN_V11": "ImageMCQDataset",
    "MME-RealWorld-Lite": "MMERealWorld",
    "MMStar": "ImageMCQDataset",
    "VStarBench": "ImageMCQDataset",
    "LLaVABench": "LLaVABench",
    "WildVision": "WildVision",
}


def harness_name(checkpoint: str | Path, label: str) -> str:
    """The name of a checkpoint in the harness: another one for other weights.

    "qwen2_5" is in it because the harness tells the models of the family apart by their path.
    """
    return (
        f"qwen2_5_vl_{label.replace('/', '_')}_{sha256(checkpoint_hash(checkpoint).encode()).hexdigest()[:8]}"
    )


def harness_commands(
    profile: Profile, *, checkpoint: str | Path, name: str, out: Path, benchmarks: Sequence[str]
) -> list[str]:
    """Write configurations for `run.py` of VLMEvalKit and return the commands, to be run in its folder.

    A checkpoint folder is linked as `out/checkpoints/<name>`. Multiple choice and yes or no are scored by
    exact matching, without a server; LLaVA-Wild and WildVision ask the harness's own judge, which needs a key
    in the environment. Results go to `out/results`.
    """
    model = {
        "class": "Qwen2VLChat",
        "model_path": str(_link(Path(checkpoint), out / "checkpoints" / name)),
        "min_pixels": profile.model.min_pixels,
        "max_pixels": profile.model.max_pixels,
        "use_custom_prompt": False,
    }
    commands = []
    for kind, judge in (("exact", "--judge exact_matching"), ("open", "")):
        chosen = [one for one in benchmarks if BENCHMARKS[one].open == (kind == "open")]
        if chosen:
            data = {one: {"class": _CLASSES[one], "dataset": one} for one in chosen}
            config = write_json(out / f"{name}_{kind}.json", {"model": {name: model}, "data": data})
            words = ["python", "run.py", "--config", str(config.resolve())]
            words += ["--work-dir", str((out / "results").resolve())]
            commands.append(f"PRED_FORMAT=tsv {shlex.join(words)} {judge}".rstrip())
    return commands


def _link(checkpoint: Path, link: Path) -> Path:
    if not checkpoint.is_dir():
        return checkpoint
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(checkpoint.resolve())
    return link.absolute()


def read_results(folder: Path, name: str) -> dict[str, list[dict[str, Any]]]:
    """Record lines of each benchmark from the newest result files below `folder/results/<name>`.

    They are what `evaluate_policy` records. A benchmark without a result file is left out; a file whose
    rows have no result is a ValueError.
    """
    found = {}
    for benchmark in BENCHMARKS.values():
        paths = [*folder.glob(f"results/{name}/**/{name}_{benchmark.name}_*.tsv")]
        paths.sort(key=lambda path: path.stat().st_mtime)
        tables = [(path, pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)) for path in paths]
        scored = [one for one in tables if set(_RESULT_COLUMNS) & set(one[1].columns)]
        if scored:
            found[benchmark.name] = _lines(benchmark, *scored[-1])
    return found


def require_results(checkpoints: Mapping[str, str | Path], profile: Profile, *, record: Path) -> None:
    """Take the results of all checkpoints, given by their place in the record, from `downstream.harness`.

    Raises RuntimeError with the commands to run where some are missing.
    """
    folder, commands = Path(profile.downstream.harness), []
    for place, checkpoint in checkpoints.items():
        name = harness_name(checkpoint, place)
        found = read_results(folder, name)
        for benchmark, lines in found.items():
            write_rows(record / place / f"{benchmark}.jsonl", lines)
        missing = [one for one in BENCHMARKS if one not in found]
        asked = {"checkpoint": checkpoint, "name": name, "benchmarks": missing}
        commands += harness_commands(profile, out=folder, **asked)
    if commands:
        listed = "\n".join(commands)
        raise RuntimeError(f"run this in a checkout of VLMEvalKit, then the same command again:\n{listed}")


def _lines(benchmark: Benchmark, path: Path, table: pd.DataFrame) -> list[dict[str, Any]]:
    rows: list[dict[str, str]] = table.to_dict("records")  # type: ignore[assignment]
    reference = fmean(float(row["gpt4_score"]) for row in rows) if "gpt4_score" in table.columns else 1.0
    lines = []
    for number, row in enumerate(rows, start=1):
        result = next(row[column] for column in _RESULT_COLUMNS if column in row)
        try:
            points = _points(benchmark.name, result) / reference
            lines.append({"points": points, "units": benchmark.units(row), **benchmark.group(row)})
        except ValueError as error:
            raise ValueError(f"{path}, row {number}: {error}") from error
    return lines


def _points(benchmark: str, result: str) -> float:
    """What the harness counts for a result: a failed judgment of LLaVA-Wild is -1, as it is in the mean of
    the references; a question of MME-RealWorld without a score is 0.
    """
    if benchmark == "WildVision":
        return float(result in _WINS)
    points = _TRUTH[result] if result in _TRUTH else float(result)
    return points if benchmark == "LLaVABench" else max(points, 0.0)
