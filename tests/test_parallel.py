"""Calls of the standard library stand for trainings: a worker must be able to import what it runs."""

import math
import os
import signal
import subprocess
import sys
import textwrap
from functools import partial

import pytest
import torch

from r1reward.parallel import SideBySideError, side_by_side


def test_results_keep_their_names_and_order(capsys):
    calls = {f"root of {value}": partial(math.sqrt, value) for value in (9, 1, 4)}
    assert list(side_by_side(calls, processes=2).items()) == [
        ("root of 9", 3),
        ("root of 1", 1),
        ("root of 4", 2),
    ]
    assert "3/3 done" in capsys.readouterr().err


def test_each_call_has_its_own_process_and_one_thread():
    processes = side_by_side({"first": os.getpid, "second": os.getpid}, processes=2)
    assert len({*processes.values(), os.getpid()}) == 3
    threads = side_by_side({"first": torch.get_num_threads, "second": torch.get_num_threads}, processes=2)
    assert set(threads.values()) == {1}


def test_a_call_sees_the_environment_of_its_time(monkeypatch):
    side_by_side({"first": os.getpid}, processes=2)
    monkeypatch.setenv("R1REWARD_SAID", "now")
    assert side_by_side({"first": partial(os.getenv, "R1REWARD_SAID")}, processes=2) == {"first": "now"}


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_processes_find_loaded_what_most_calls_need():
    """Asked by calls whose own module is there in any process."""
    loaded = partial(eval, "'r1reward.engines.transformers' in __import__('sys').modules")
    calls = {"first": loaded, "second": loaded}
    assert side_by_side(calls, processes=2) == {"first": True, "second": True}


def test_lines_come_out_behind_the_name(capsys):
    side_by_side({"first": partial(print, "so\nfar"), "second": partial(print, "good")}, processes=2)
    assert {"first: so", "first: far", "second: good"} <= set(capsys.readouterr().err.splitlines())


def test_one_process_is_this_one():
    assert side_by_side({"first": os.getpid, "second": os.getpid}, processes=1) == {
        "first": os.getpid(),
        "second": os.getpid(),
    }


def test_results_do_not_depend_on_the_number_of_calls():
    assert side_by_side({"only": torch.get_num_threads}) == {"only": 1}
    assert side_by_side({}) == {}


def test_a_failure_names_the_call_and_stops_the_others():
    calls = {"first": signal.pause, "second": partial(math.sqrt, -1)}
    with pytest.raises(SideBySideError, match=r"(?s)second: .*ValueError: math domain error"):
        side_by_side(calls, processes=2)


def test_a_killed_process_is_an_error():
    calls = {"first": signal.pause, "second": partial(signal.raise_signal, signal.SIGKILL)}
    with pytest.raises(SideBySideError, match="second: the process died with exit code -9"):
        side_by_side(calls, processes=2)


def test_processes_end_with_their_parent(tmp_path):
    """The workers hold the parent's output open, so reading it to its end means that they are gone."""
    script = tmp_path / "parent.py"
    script.write_text(
        textwrap.dedent("""
            from functools import partial
            from r1reward.parallel import side_by_side

            WAIT = partial(exec, "import signal; print('waiting'); signal.pause()")
            if __name__ == "__main__":
                side_by_side({"a": WAIT, "b": WAIT}, processes=2)
        """)
    )
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    parent = subprocess.Popen([sys.executable, str(script)], text=True, **streams)
    assert parent.stdout
    assert sorted(parent.stdout.readline() for _ in range(2)) == ["a: waiting\n", "b: waiting\n"]
    parent.kill()
    assert parent.stdout.read() == ""
