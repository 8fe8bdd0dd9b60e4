"""An RL step of ours beside TRL's GRPOTrainer: `python benchmarks/vs_trl.py [--samples 8] [--steps 5]`.

Both train the same tiny model by GRPO on the same prompts with pictures, in the same order, with the same
reward, number of completions, length limit, stop tokens and updates (256 completions, two updates of 128).
Each side runs in a process of its own, alone, so that its peak memory is its own. The first step warms up and
is left out. A step is timed from the end of the one before, so loading data counts.

TRL has its KV cache on and gradient checkpointing off; `--trl-micro-batch` finds the size that suits it best.
GRPO refuses one sample a prompt, so 32 prompts have 8 samples each on both sides unless told otherwise; ours
reads a prompt once for all its samples. On a busy machine set OMP_NUM_THREADS=1, as threads that wait for
each other cost more than they gain, and look at the CPU seconds.
"""

from __future__ import annotations

import r1reward.torchvision_ops  # noqa: F401

# isort: split

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
import torch

from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.engines.loading import load_processor, model_folder
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.judge.generative import judge_request
from r1reward.mini.world import write_world
from r1reward.settings import EngineSettings, ModelSettings, RLSettings, WorldSettings
from r1reward.train.learner import BETAS, make_learner
from r1reward.train.rl import take_step
from r1reward.train.tasks import JudgeTask
from r1reward.types import Completion, PreferencePair

MODEL = ModelSettings(max_pixels=12544)
SIDES = ("ours", "trl")
PARTS = ("rollout_seconds", "score_seconds", "old_log_prob_seconds", "update_seconds")
MISSING = "TRL is not installed; it comes with `pip install -c constraints.txt -e '.[bench]'`"
SHOWN = (
    *("per_device_train_batch_size", "gradient_accumulation_steps", "steps_per_generation"),
    *("generation_batch_size", "num_generations", "max_completion_length", "loss_type", "beta"),
    *("gradient_checkpointing", "bf16", "optim", "max_grad_norm", "cache_implementation"),
)
MIB = 1024**2


def parse() -> argparse.Namespace:
    """The command line; `side` and `folder` are for the processes of the two sides."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini", help="checkpoint folder; the shipped base by default")
    parser.add_argument("--completions", type=int, default=256, help="completions a step")
    parser.add_argument("--samples", type=int, default=8, help="completions a prompt, at least 2")
    parser.add_argument("--micro-batch", type=int, default=32, help="completions a forward pass")
    parser.add_argument("--trl-micro-batch", type=int, default=32, help="the same for TRL")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5, help="steps measured in each round")
    parser.add_argument("--rounds", type=int, default=1, help="each round runs both sides once")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run both sides in turn and print the medians, or one side for the process above."""
    arguments = parse()
    if arguments.side:
        run_side(arguments)
        return
    try:
        print(f"TRL {version('trl')}, transformers {version('transformers')}, torch {torch.__version__}")
    except PackageNotFoundError:
        sys.exit(MISSING)
    with tempfile.TemporaryDirectory() as folder:
        prompts = arguments.completions // arguments.samples * (arguments.steps + 1)
        size = WorldSettings(pairs_per_source=1, benchmark_pairs=1, validation_pairs=prompts)
        write_world(Path(folder), size, 0)
        reports: dict[str, list[dict[str, Any]]] = {side: [] for side in SIDES}
        for _ in range(arguments.rounds):
            for side in SIDES:
                command = [sys.executable, __file__, *sys.argv[1:], "--side", side, "--folder", folder]
                subprocess.run(command, check=True)
                reports[side].append(json.loads((Path(folder) / f"{side}.json").read_text()))
    show(reports, arguments)


def run_side(arguments: argparse.Namespace) -> None:
    """Measure one side and leave `<side>.json` in the folder: settings, one row a step, memory in MiB."""
    pairs = load_benchmark(arguments.folder / "vl_rewardbench_validation")
    rows, settings, before = (run_ours if arguments.side == "ours" else run_trl)(pairs, arguments)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    report = {"settings": settings, "rows": rows[1:], "loaded": before, "peak": peak}
    (arguments.folder / f"{arguments.side}.json").write_text(json.dumps(report))


def run_ours(
    pairs: list[PreferencePair], arguments: argparse.Namespace
) -> tuple[list[dict[str, float]], dict[str, Any], float]:
    """Rows of all steps, settings, and MiB resident before the first step."""
    prompts = arguments.completions // arguments.samples
    settings = RLSettings(
        algorithm="grpo",
        learning_rate=1e-6,
        rollout_batch_size=prompts,
        train_batch_size=arguments.completions // 2,
        micro_batch_size=arguments.micro_batch,
        samples_per_prompt=arguments.samples,
    )
    engine = EngineSettings(batch_size=arguments.completions, max_new_tokens=arguments.max_new_tokens)
    learner = make_learner(
        arguments.model,
        settings=settings,
        model_settings=MODEL,
        engine_settings=engine,
        task=make_task(settings),
        seed=0,
        steps=arguments.steps + 1,
    )
    before, rows = resident(), []
    for step in range(arguments.steps + 1):
        started = times()
        row = take_step(learner, pairs[step * prompts : (step + 1) * prompts], step + 1)
        rows.append(since(started) | {key: row[key] for key in ("response_length", "reward", *PARTS)})
    stops = learner.engine._stop_ids()
    described = settings.model_dump(mode="json") | engine.model_dump() | {"stop_tokens": stops}
    return rows, described, before


def run_trl(
    pairs: list[PreferencePair], arguments: argparse.Namespace
) -> tuple[list[dict[str, float]], dict[str, Any], float]:
    """The same of TRL's trainer, whose rows are kept by a callback."""
    from transformers import AutoModelForImageTextToText, TrainerCallback  # noqa: PLC0415
    from trl import GRPOTrainer  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

    rows: list[dict[str, float]] = []

    class Clock(TrainerCallback):
        """Logs come at the end of every step."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.tick = times()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "completions/mean_length" in (logs or {}):
                length, reward = logs["completions/mean_length"], logs["reward"]
                rows.append(since(self.tick) | {"response_length": length, "reward": reward})
                self.tick = times()

    config = trl_config(arguments)
    trainer = GRPOTrainer(
        model=AutoModelForImageTextToText.from_pretrained(model_folder(arguments.model), dtype=torch.float32),
        reward_funcs=trl_reward(pairs),
        args=config,
        train_dataset=trl_dataset(pairs),
        processing_class=load_processor(arguments.model, settings=MODEL),
        callbacks=[Clock()],
    )
    before = resident()
    trainer.train()
    described = {name: getattr(config, name) for name in SHOWN} | {
        "use_cache": trainer.generation_config.use_cache is not False,
        "attention": trainer.model.config._attn_implementation,
        "stop_tokens": sorted(trainer.eos_token_ids),
    }
    return rows, described, before


def make_task(settings: RLSettings) -> JudgeTask:
    """The rewards of both sides."""
    return JudgeTask(ScriptedConsistencyJudge(), settings=settings, prompt=MODEL.prompt)


def trl_dataset(pairs: list[PreferencePair]) -> Any:
    """The prompts in our order; `place` finds a prompt's pair again."""
    from datasets import Dataset, Image, List  # noqa: PLC0415

    requests = [judge_request(pair, prompt=MODEL.prompt) for pair in pairs]
    data = Dataset.from_dict(
        {
            "prompt": [[{"role": "user", "content": request.text}] for request in requests],
            "images": [list(request.images) for request in requests],
            "place": list(range(len(pairs))),
        }
    )
    return data.cast_column("images", List(Image()))


def trl_reward(pairs: list[PreferencePair]) -> Callable[..., list[float]]:
    """Our reward in the form that TRL calls."""

    def reward(completions: list[Any], completion_ids: list[list[int]], place: list[int], **_: Any) -> Any:
        texts = [turns[0]["content"] for turns in completions]
        answers = [
            Completion(text, tuple(ids), (), "stop") for text, ids in zip(texts, completion_ids, strict=True)
        ]
        asked = [pairs[index] for index in place]
        trajectories = make_task(RLSettings()).score(asked, [(answer,) for answer in answers])
        return [trajectory.reward for trajectory in trajectories]

    return reward


def trl_config(arguments: argparse.Namespace) -> Any:
    """GRPO with as many updates a generation as ours; one row of logs a step."""
    from trl import GRPOConfig  # noqa: PLC0415 # pyright: ignore[reportMissingImports]

    update = arguments.completions // 2
    micro = min(update, arguments.trl_micro_batch)
    return GRPOConfig(
        output_dir=str(arguments.folder / "trl"),
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=update // micro,
        generation_batch_size=arguments.completions,
        num_generations=arguments.samples,
        max_completion_length=arguments.max_new_tokens,
        temperature=1.0,
        learning_rate=1e-6,
        adam_beta1=BETAS[0],
        adam_beta2=BETAS[1],
        lr_scheduler_type="constant",
        max_steps=2 * (arguments.steps + 1),
        shuffle_dataset=False,
        gradient_checkpointing=False,
        bf16=False,
        use_cpu=not torch.cuda.is_available(),
        save_strategy="no",
        report_to="none",
        logging_steps=2,
        disable_tqdm=True,
        seed=0,
    )


def show(reports: dict[str, list[dict[str, Any]]], arguments: argparse.Namespace) -> None:
    """Settings, medians over the steps of all rounds, and the ratio."""
    threads = os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())
    print(f"{arguments.completions} completions a step, {arguments.samples} a prompt; {threads} threads")
    middles = {}
    for side, name in zip(SIDES, ("ours", "TRL"), strict=True):
        rows = [row for report in reports[side] for row in report["rows"]]
        middles[side] = middle = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
        speed = arguments.completions / middle["seconds"]
        peak = max(report["peak"] for report in reports[side])
        seconds = sorted(row["seconds"] for row in rows)
        print(f"{name:<5} {json.dumps(reports[side][0]['settings'])}")
        print(
            f"{name:<5} {speed:7.1f} samples/s  {middle['seconds']:6.2f} s a step ({seconds[0]:.2f} to "
            f"{seconds[-1]:.2f}, n = {len(rows)}; CPU {middle['cpu_seconds']:.2f} s)  "
            f"{middle['response_length']:.1f} tokens an answer, reward {middle['reward']:.2f}  "
            f"peak {peak:,.0f} MiB ({reports[side][0]['loaded']:,.0f} before the first step)"
        )
        for key in PARTS if side == "ours" else ():
            part = key.removesuffix("_seconds").replace("_", " ")
            print(f"      {part:<13} {middle[key]:6.2f} s  {middle[key] / middle['seconds']:4.0%}")
    for key, what in (("seconds", "samples/s"), ("cpu_seconds", "samples a CPU second")):
        print(f"ours / TRL: {middles['trl'][key] / middles['ours'][key]:.2f} x {what}")


def times() -> tuple[float, float]:
    """Wall-clock and CPU seconds of this process so far."""
    return time.perf_counter(), time.process_time()


def since(start: tuple[float, float]) -> dict[str, float]:
    """Seconds since then, by both clocks."""
    wall, cpu = times()
    return {"seconds": wall - start[0], "cpu_seconds": cpu - start[1]}


def resident() -> float:
    """MiB of memory that this process holds now."""
    return psutil.Process().memory_info().rss / MIB


if __name__ == "__main__":
    main()
