"""Locks between processes: the other process is a real one."""

import subprocess
import sys

import pytest

from r1reward.locks import BusyError, exclusive

HOLD = """
import sys
from r1reward.locks import exclusive
with exclusive(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def other(tmp_path):
    """A process that holds `tmp_path/work` until its input ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "work")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_what_another_process_uses_is_refused_in_one_line(tmp_path, other):
    with pytest.raises(BusyError) as refusal, exclusive(tmp_path / "work"):
        pytest.fail("the lock was given twice")
    assert str(refusal.value).startswith(
        f"{tmp_path / 'work'} is in use by another process (process {other.pid} "
    )
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_a_lock_ends_with_its_process_however_it_ends(tmp_path, other, end):
    other.kill() if end == "kill" else other.stdin.close()
    other.wait()
    with exclusive(tmp_path / "work"):
        pass


def test_blocks_may_be_nested_and_the_outer_one_keeps_the_lock(tmp_path):
    with exclusive(tmp_path / "work"):
        with exclusive(tmp_path / "work"):
            pass
        done = subprocess.run(
            [sys.executable, "-c", HOLD, str(tmp_path / "work")],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 1 and "BusyError" in done.stderr
    with exclusive(tmp_path / "work"):
        assert (tmp_path / ".work.lock").is_file()
    assert not (tmp_path / "work").exists()
