"""A build that is killed with SIGKILL, again and again, makes the files of one that was not."""

import signal
import subprocess
import sys
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
    ("counts of a source", 1, "vl_feedback"),
    ("duplicates", 1, "povid"),
    ("draw", 1, "povid"),
    ("line of a file", 40, "povid"),
    ("card", 1, "povid"),
    ("removal of what was read", 1, "povid"),
]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_by_then(out: Path) -> str:
    """The last source, in the order of reading, that was read whole."""
    names = [file.stem for file in (out / "read").glob("*.json")]
    return max(names, key=["rlaif_v", "vl_feedback", "povid"].index, default="")


def test_a_killed_build_ends_like_any_other(tmp_path: Path) -> None:
    world = tmp_path / "world"
    write_world(world, WorldSettings(pairs_per_source=40, benchmark_pairs=12, validation_pairs=1), seed=1)
    rows = world / "vl_feedback" / "vlfeedback_80k.jsonl"
    rows.write_text(rows.read_text() + "".join(rows.open().readlines()[:6]))  # duplicates

    built = run(world, tmp_path / "whole")
    # Two of the six rows give another one of their completions that are rated alike.
    assert sum(sum(counts["duplicates"].values()) for counts in built.sources.values()) == 4
    assert built.sources["povid"]["overlap"]["pair"] == 1
    for target, count, last in DEATHS:
        command = [sys.executable, str(DRIVER), str(world), str(tmp_path / "killed"), target, str(count)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == -signal.SIGKILL, (target, done.stderr[-2000:])
        assert read_by_then(tmp_path / "killed") == last, target
    run(world, tmp_path / "killed")
    whole, killed = files_of(tmp_path / "whole"), files_of(tmp_path / "killed")
    # The key names the folder of the pictures, which is another one.
    for card in (whole, killed):
        lines = card["data_card.json"].splitlines()
        card["data_card.json"] = b"\n".join(line for line in lines if b'"key"' not in line)
    assert killed == whole
