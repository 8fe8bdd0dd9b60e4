"""One run of `r1reward.cluster` with a tiny model on CPUs: driver.py FOLDER START PAIRS JUDGES STEPS."""

import sys
from pathlib import Path

from r1reward.cluster.launch import prepare, run
from r1reward.config import load_profile

OVERRIDES = {
    "engine": {"max_new_tokens": 48, "max_prompt_tokens": 208, "vllm": {"pictures": 2}},
    "rl": {
        "learning_rate": 3e-4,
        "rollout_batch_size": 64,
        "train_batch_size": 64,
        "micro_batch_size": 8,
        "samples_per_prompt": 2,
        "epochs": 1,
        "save_steps": 4,
    },
    "cluster": {
        "gpus_per_node": 2,
        "engines": 1,
        "colocate": False,
        "sync_backend": "gloo",
        "gradient_checkpointing": False,
        "attention": "sdpa",
        "engine_memory": 0.1,
        "eager": True,
        "measure_mismatch": True,
    },
}
# Ray counts GPUs that are not there: one for each actor and engine.
RAY = {
    "num_cpus": 8,
    "num_gpus": 3,
    "include_dashboard": False,
    "_node_ip_address": "127.0.0.1",
    "object_store_memory": 400_000_000,
}


def main() -> None:
    folder, start, pairs, judges, steps = sys.argv[1:]
    overrides = {**OVERRIDES, "rl": {**OVERRIDES["rl"], "max_steps": int(steps)}}
    profile = load_profile("mini", overrides=overrides)
    launch = prepare(profile, start=start, pairs=Path(pairs), out=Path(folder), seed=0, judges=Path(judges))
    print(launch.command(), flush=True)
    print("trained", run(launch, address="local", ray_options=RAY), flush=True)


if __name__ == "__main__":
    main()
