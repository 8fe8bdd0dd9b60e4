"""Annotation that is killed with SIGKILL ten times ends like one that was not."""

import random
import signal
import subprocess
import sys
from pathlib import Path

from annotate_driver import ATTEMPTS, CONCURRENCY, PAIRS, annotate
from fault_server import FaultServer, good_answer

from r1reward.files import read_jsonl

DRIVER = Path(__file__).parent / "annotate_driver.py"
KILLS = 10


def test_a_killed_annotation_ends_like_any_other(server: FaultServer, tmp_path: Path) -> None:
    whole = annotate(server.url, tmp_path / "whole")
    needed = server.asked()
    assert needed.total() == sum(annotation.attempts for annotation in whole) > PAIRS
    server.requests.clear()

    rng = random.Random(0)
    server.plans = {f"p-{index}": rng.choices(["", "503", "truncated"], k=2) for index in range(PAIRS)}
    command = [sys.executable, str(DRIVER), server.url, str(tmp_path / "killed")]
    for _ in range(KILLS):
        server.arm(rng.randint(1, 30))
        with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
            server.victims.put(process)
            _, errors = process.communicate(timeout=120)
        assert process.returncode == -signal.SIGKILL, errors[-2000:]
    assert annotate(server.url, tmp_path / "killed") == whole

    rows = [read_jsonl(tmp_path / name / "annotations.jsonl") for name in ("whole", "killed")]
    assert sorted(rows[0], key=str) == sorted(rows[1], key=str)
    assert {row["pair_id"] for row in rows[1]} == {f"p-{index}" for index in range(PAIRS)}
    assert all(a.answers[-1] == good_answer(a.pair_id, a.attempts - 1) for a in whole)
    # Only what was under way at a kill may be asked again.
    asked = server.asked().total()
    logged = read_jsonl(tmp_path / "killed/requests.jsonl", drop_partial=True)
    assert needed.total() <= len(logged) <= asked
    again = asked - needed.total() - server.faults.total()
    assert 0 <= again <= KILLS * CONCURRENCY * ATTEMPTS
