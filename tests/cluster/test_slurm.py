"""The script for Slurm, run for real with commands that only note how they were called."""

import os
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "docs" / "cluster" / "slurm_rl.sh"
FAKES = {
    "scontrol": "printf 'first\\nsecond\\n'",
    "srun": """echo "${SRUN_CPUS_PER_TASK:-none} $*" >> "$NOTES"
case "$*" in *hostname*) echo 10.0.0.1;; esac""",
}


def test_every_step_gets_the_jobs_cpus(tmp_path: Path) -> None:
    """Since Slurm 22.05 a step does not inherit --cpus-per-task."""
    for name, text in FAKES.items():
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/sh\n{text}\n")
        command.chmod(0o755)
    notes = tmp_path / "notes"
    job = {"SLURM_JOB_NODELIST": "n[1-2]", "SLURM_JOB_NUM_NODES": "2", "SLURM_CPUS_PER_TASK": "64"}
    subprocess.run(
        ["bash", str(SCRIPT), "my.toml", "MODEL", "rl.jsonl", "OUT"],
        env={**os.environ, **job, "NOTES": str(notes), "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        check=True,
        capture_output=True,  # ends when the steps in the background have ended, too
    )
    steps = notes.read_text().splitlines()
    assert {step.split()[0] for step in steps} == {"64"}
    assert any("ray start --head --node-ip-address=10.0.0.1" in step for step in steps)
    assert any(step.endswith("launch rl --profile my.toml --start MODEL --data rl.jsonl --out OUT "
                             "--address 10.0.0.1:6379") for step in steps)  # fmt: skip
