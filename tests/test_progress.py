import io

from r1reward.progress import Progress, clock


def test_lines_are_held_back_until_the_end():
    stream = io.StringIO()
    progress = Progress("judging", stream=stream)
    for done in range(1, 4):
        progress(done, 3, note="x")
    (line,) = stream.getvalue().splitlines()
    assert line.startswith("judging 3/3, took 0:0") and line.endswith(", x")


def test_a_terminal_is_rewritten_in_place():
    stream = io.StringIO()
    stream.isatty = lambda: True
    progress = Progress("judging", stream=stream)
    progress(1, 2)
    progress(2, 2)
    assert stream.getvalue().startswith("\rjudging 1/2") and stream.getvalue().endswith("\n")


def test_clock():
    assert [clock(0), clock(65), clock(3725)] == ["0:00", "1:05", "1:02:05"]
