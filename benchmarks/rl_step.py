"""How long an RL step takes, and where: `python benchmarks/rl_step.py [--model FOLDER] [--batch 256]`.

Pairs come from the mini world. A step is a rollout, a forward for the old log-probs and the updates.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

import torch

from r1reward.bench.vl_rewardbench import load_benchmark
from r1reward.judge.consistency_judges import ScriptedConsistencyJudge
from r1reward.mini.world import write_world
from r1reward.settings import EngineSettings, ModelSettings, RLSettings, WorldSettings
from r1reward.train.learner import choose_prompts, make_learner
from r1reward.train.rl import take_step
from r1reward.train.tasks import JudgeTask

PARTS = ("rollout_seconds", "score_seconds", "old_log_prob_seconds", "update_seconds", "seconds")


def measure(model: str, *, batch: int, max_new_tokens: int, steps: int) -> list[dict[str, float]]:
    """Rows of metrics of `steps` steps, after one that warms up."""
    settings = RLSettings(
        learning_rate=1e-6,
        rollout_batch_size=batch,
        train_batch_size=batch // 2,
        micro_batch_size=min(32, batch // 2),
    )
    learner = make_learner(
        model,
        settings=settings,
        model_settings=ModelSettings(max_pixels=12544),
        engine_settings=EngineSettings(batch_size=batch, max_new_tokens=max_new_tokens),
        task=JudgeTask(ScriptedConsistencyJudge(), settings=settings, prompt="mini"),
        seed=0,
        steps=steps + 1,
    )
    with tempfile.TemporaryDirectory() as folder:
        size = WorldSettings(pairs_per_source=1, benchmark_pairs=1, validation_pairs=batch)
        write_world(Path(folder), size, 0)
        pairs = load_benchmark(Path(folder) / "vl_rewardbench_validation")
        rows = [
            take_step(learner, choose_prompts(pairs, learner, step), step) for step in range(1, steps + 2)
        ]
    return rows[1:]


def main() -> None:
    """Print medians over the steps."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="mini")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--steps", type=int, default=5)
    arguments = parser.parse_args()
    rows = measure(
        arguments.model, batch=arguments.batch, max_new_tokens=arguments.max_new_tokens, steps=arguments.steps
    )
    medians = {key: statistics.median(row[key] for row in rows) for key in (*PARTS, "response_length")}
    tokens = medians["response_length"] * arguments.batch
    print(
        f"batch {arguments.batch}, {medians['response_length']:.1f} tokens an answer, "
        f"{torch.get_num_threads()} threads"
    )
    for key in PARTS:
        name = "step" if key == "seconds" else key.removesuffix("_seconds").replace("_", " ")
        share = medians[key] / medians["seconds"]
        print(f"{name:<14} {medians[key]:6.2f} s  {share:5.0%}  {tokens / medians[key]:9,.0f} tokens/s")


if __name__ == "__main__":
    main()
