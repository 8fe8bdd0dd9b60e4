import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1reward.pipeline.progress import LiveOutput, time_left
from r1reward.progress import clock


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
