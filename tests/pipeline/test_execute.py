from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.pipeline.execute import LiveOutput, LocalKernelManager, time_left
from r1reward.progress import clock


def test_kernels_that_start_together_share_no_socket(tmp_path, monkeypatch):
    """Names are chosen before there is a socket; in one folder, two kernels would choose the same."""
    monkeypatch.chdir(tmp_path)
    managers = [LocalKernelManager() for _ in range(2)]
    sockets: list[Path] = []
    for manager in managers:
        manager.write_connection_file()
        sockets += [Path(f"{manager.ip}-{port}") for port in manager.ports]
    assert len(set(sockets)) == 10
    assert all(socket.parent.is_dir() and not socket.is_relative_to(tmp_path) for socket in sockets)
    for manager in managers:
        manager.cleanup_connection_file()


def test_kernels_of_a_deep_temporary_folder_listen_at_ports(tmp_path, monkeypatch):
    """A socket whose path is above 107 characters, or 103 on macOS, cannot be bound."""
    short, deep = Path("/tmp"), tmp_path / ("deep" * 25)
    deep.mkdir()
    found = []
    for folder in (short, deep):
        monkeypatch.setattr("tempfile.tempdir", str(folder))
        found.append(LocalKernelManager())
    assert [manager.transport for manager in found] == ["ipc", "tcp"]
    assert len(f"{found[0].ip}-5") <= 103 and found[1].ip == "127.0.0.1"


def test_lines_are_whole_prefixed_and_logged_without_colour():
    terminal, log = io.StringIO(), io.StringIO()
    live = LiveOutput(terminal, log, "03")
    for piece in ("step 1", "/2 \x1b[31mred\x1b[0m\rstep", " 2/2\n\n", "unfinished"):
        live.write(piece)
    live.headline("cell 2")
    assert log.getvalue().splitlines() == ["step 1/2 red", "step 2/2", "unfinished", "cell 2"]
    lines = terminal.getvalue().splitlines()
    assert lines[0] == "[03 0:00] step 1/2 \x1b[31mred\x1b[0m"
    assert len(lines) == 4


@given(st.lists(st.text(alphabet="ab\r\n", max_size=5)))
def test_how_output_is_cut_does_not_matter(pieces):
    whole, parts = io.StringIO(), io.StringIO()
    for log, texts in ((whole, ["".join(pieces)]), (parts, pieces)):
        live = LiveOutput(io.StringIO(), log, "x")
        for text in texts:
            live.write(text)
        live.close()
    assert whole.getvalue() == parts.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.9, "0:59"), (61, "1:01"), (3723, "1:02:03")])
def test_clock(seconds, text):
    assert clock(seconds) == text


def test_time_left_scales_an_earlier_run_by_the_speed_so_far():
    assert time_left(0, elapsed=0.0, earlier=[10.0, 30.0]) == 40.0
    assert time_left(1, elapsed=20.0, earlier=[10.0, 30.0]) == 60.0
    assert time_left(1, elapsed=5.0, earlier=[1.0, 99.0]) == 99.0
    assert time_left(2, elapsed=5.0, earlier=[1.0, 99.0]) is None
