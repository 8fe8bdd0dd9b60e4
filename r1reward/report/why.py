"""Where a row of a table comes from: records, seeds, settings, checkpoint, commit and machine."""

from __future__ import annotations

import difflib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1reward.report.downstream import row_titles
from r1reward.report.records import HEAD_NAMES, MODEL_NAMES, REFERENCE, Records, read_manifests, same_as
from r1reward.report.tables import read_tables


def table_rows() -> dict[str, dict[str, str]]:
    """The rows that can be asked about: by table, what a row is called here and what it shows."""
    names = MODEL_NAMES | HEAD_NAMES
    rows = {
        name: {row.record: ", ".join(row.cells.values()) or names[row.record] for row in table.rows}
        for name, table in read_tables().items()
        if table.printed
    }
    rows["table_11"] = row_titles()
    rows["table_12"] = {REFERENCE: MODEL_NAMES[REFERENCE]}
    return rows


def is_measured(root: Path, name: str) -> bool:
    """Whether a run or results folder holds records of a row, or of any row of a table.

    Raises ValueError with the nearest name for an unknown table or row.
    """
    table, _, row = name.partition(":")
    rows = _pick(table_rows(), table, "table")
    wanted = [row] if row else list(rows)
    for each in wanted:
        _pick(rows, each, f"row of {table}")
    if not (root / "records").is_dir():
        return False
    records = Records.of_run(root)
    return any(runs for each in wanted for runs in _parts(records, table, each).values())


def explain(root: Path, name: str, *, options: str = "") -> str:
    """Everything behind `table_05:wo_pre_clip`, or the rows of `table_05`, for a run or results folder.

    `options` are those of the command that repeats the run; by default its profile and seeds. Raises
    ValueError with the nearest name for an unknown table or row, FileNotFoundError for a folder without
    records.
    """
    if not (root / "records").is_dir():
        raise FileNotFoundError(f"{root} holds no records")
    table, _, row = name.partition(":")
    tables = table_rows()
    rows = _pick(tables, table, "table")
    if not row:
        return "\n".join([f"rows of {table}:", *(f"  {table}:{key}  {title}" for key, title in rows.items())])
    title = _pick(rows, row, f"row of {table}")
    lines = [f"{table}, {title}"]
    records = Records.of_run(root)
    for part, runs in _parts(records, table, row).items():
        grid = records.grid_folders(row) if part == "training" else {}
        lines += _describe(root, part, runs, records=records, grid=grid, options=options)
    return "\n".join(lines) if len(lines) > 1 else f"{lines[0]}: not run"


# The parts of the work behind a row, each with the folder of every seed.
Parts = dict[str, dict[int, str]]


def _parts(records: Records, table: str, row: str) -> Parts:
    return _downstream(records, row) if table == "table_11" else _judge(records, table, row)


def _judge(records: Records, table: str, row: str) -> Parts:
    """The work behind a row about a judge."""
    shown = table in ("table_03", "table_04", "table_08")
    benchmark = read_tables()[table].benchmark
    parts = {"training": _trainings(records, row)}
    if table != "table_12":
        parts["judging"] = records.runs(f"bench/{benchmark}", row)
    if row == REFERENCE and (shown or table == "table_12"):
        parts["voting"] = records.runs(f"scaling/{benchmark}", row)
    return parts


def _downstream(records: Records, row: str) -> Parts:
    """The work behind a policy; the one before R1-Reward trained it has no training here."""
    training = records.runs("downstream", "training") if row.startswith("trained") else {}
    return {"training": training, "answering": records.runs("downstream", row)}


def _pick(known: Mapping[str, Any], name: str, what: str) -> Any:
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1)
    advice = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    raise ValueError(f"no {what} is called {name}; {advice}")


def _describe(
    root: Path, part: str, runs: Mapping[int, str], *, records: Records, grid: Mapping[int, str], options: str
) -> list[str]:
    """Lines about a part of the work behind a row; what is the same for several seeds stands once."""
    lines, about = [], dict[tuple[str, ...], list[int]]()
    for seed, folder in runs.items():
        names = [f"records/{name}" for name in records.inside(folder)]
        lines += [f"{part}, seed {seed}", *(f"  record    {name}" for name in names)]
        if seed in grid:
            lines += _about_grid(records.files.document(f"{grid[seed]}/run.json"))
        if part == "training" and f"{folder}/status.json" in records.files:
            lines += _about_run(records.files.document(f"{folder}/status.json"))
        about.setdefault(tuple(_about_manifest(root, names, options=options)), []).append(seed)
    for shared, seeds in about.items():
        lines += [f"{part}, seed {', '.join(map(str, seeds))}", *shared]
    return lines


def _trainings(records: Records, row: str) -> dict[int, str]:
    """Folders of the training behind a row by seed, wherever its kind keeps them."""
    if row == "sft":
        return records.files.seeds("sft/seed_*")
    arm = row.removeprefix("annotator_")
    return records.runs("rl", row) if arm == row else records.runs("annotators", arm)


def _about_run(status: Mapping[str, Any]) -> list[str]:
    """What `status.json` of a training says."""
    ended = f"{status['status']} after {status['step']} steps {status.get('reason', '')}"
    lines = [f"  status    {ended.rstrip()}"]
    lines += [f"  {key:<9} {_line(value)}" for key, value in sorted(status.get("run", {}).items())]
    return [*lines, f"  weights   {status['weights']}"] if "weights" in status else lines


def _about_grid(about: Mapping[str, Any]) -> list[str]:
    if other := same_as(about):
        return [f"  identical by construction to {other}, whose records these are: the part never acted"]
    return [f"  device    {about['device']}"] if "device" in about else []


def _about_manifest(root: Path, names: list[str], *, options: str) -> list[str]:
    """Commit, machine and command of the notebook that wrote these records."""
    keys = ("notebook", "outputs", "git", "seeds", "device")
    for manifest in read_manifests(root, keys=keys).values():
        if not set(names) & set(manifest["outputs"]):
            continue
        git, seeds = manifest["git"], manifest["seeds"]
        profile = manifest.get("profile", root.resolve().name)
        first = f" --seed {seeds[0]}" if seeds and seeds[0] else ""
        again = options or f"--profile {profile}{first} --seeds {len(seeds)}"
        return [
            f"  commit    {git['commit'] or 'no git checkout'}{' with changes' if git['modified'] else ''}",
            f"  machine   {_line(manifest['device'])}",
            f"  command   r1reward run {manifest['notebook']} {again}",
        ]
    return ["  no manifest names these records"]


def _line(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)
