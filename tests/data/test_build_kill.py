"""A build that is killed with SIGKILL, again and again, makes the files of one that was not."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from kill_driver import run

from r1reward.mini.world import write_world
from r1reward.settings import WorldSettings

DRIVER = Path(__file__).parent / "kill_driver.py"
# What each process dies in, at which call there, and the last source that was whole by then.
DEATHS = [
    ("row of a source", 25, ""),
    ("row of a source", 60, "rlaif_v"),
    ("row of a source", 30, "rlaif_v"),
    ("row of a source", 70, "vl_feedback"),
    ("row of the duplicates", 3, "povid"),
    ("end of duplicates or overlap", 1, "povid"),
    ("end of duplicates or overlap", 2, "povid"),
    ("draw", 2, "povid"),
    ("line of a file", 40, "povid"),
    ("card", 1, "povid"),
    ("removal of the index", 1, "povid"),
]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def finished_stages(out: Path) -> list[str]:
    with closing(sqlite3.connect(out / "index.sqlite")) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM stages ORDER BY rowid")]


def test_a_killed_build_ends_like_any_other(tmp_path: Path) -> None:
    world = tmp_path / "world"
    write_world(world, WorldSettings(pairs_per_source=40, benchmark_pairs=12, validation_pairs=1), seed=1)
    rows = world / "vl_feedback" / "vlfeedback_80k.jsonl"
    rows.write_text(rows.read_text() + "".join(rows.open().readlines()[:6]))  # duplicates

    built = run(world, tmp_path / "whole")
    assert sum(sum(counts["duplicates"].values()) for counts in built.sources.values()) == 6
    assert built.sources["povid"]["overlap"]["pair"] == 1
    for target, count, last in DEATHS:
        command = [sys.executable, str(DRIVER), str(world), str(tmp_path / "killed"), target, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == -signal.SIGKILL, (target, done.stderr[-2000:])
        whole = [name for name in finished_stages(tmp_path / "killed") if name.startswith("read")]
        assert (whole[-1] if whole else "read ") == f"read {last}"
    run(world, tmp_path / "killed")
    whole, killed = files_of(tmp_path / "whole"), files_of(tmp_path / "killed")
    # The key names the folder of the pictures, which is another one.
    for card in (whole, killed):
        lines = card["data_card.json"].splitlines()
        card["data_card.json"] = b"\n".join(line for line in lines if b'"key"' not in line)
    assert killed == whole
