"""Every setting of a launch is followed to what reaches OpenRLHF: a flag, or what a worker reads."""

from pathlib import Path
from typing import Any

import pytest

from r1reward.cluster.prepare import rl_flags
from r1reward.config import load_profile
from r1reward.settings import ClusterSettings, Profile, RLSettings

BASE = {
    "engine": {"max_prompt_tokens": 300, "max_new_tokens": 50},
    "rl": {"rollout_batch_size": 48, "train_batch_size": 24, "micro_batch_size": 3, "samples_per_prompt": 4},
    "cluster": {"nodes": 2, "gpus_per_node": 4, "engines": 8},
}


def flags_of(overrides: dict[str, dict[str, Any]], seed: int = 3) -> dict[str, str]:
    merged = {name: {**BASE.get(name, {}), **overrides.get(name, {})} for name in {**BASE, **overrides}}
    return words_of(load_profile("mini", overrides=merged), seed)


def words_of(profile: Profile, seed: int) -> dict[str, str]:
    places = {name: Path(f"/{name}") for name in ("start", "prompts", "agent", "out")}
    found: dict[str, list[str]] = {}
    for word in rl_flags(profile, **places, pictures=6, passes=7, seed=seed):
        if word.startswith("--"):
            found[word[2:]] = []
        else:
            found[list(found)[-1]].append(word)
    return {name: " ".join(values) for name, values in found.items()}


def test_every_flag_has_its_value() -> None:
    """No two numbers are equal, so that two exchanged settings show."""
    values = {
        "rl": {"learning_rate": 1e-5, "clip_eps": 0.25, "max_grad_norm": 0.7, "temperature": 0.9,
               "kl_coef": 0.01, "inner_epochs": 5, "warmup_ratio": 0.06, "schedule": "constant",
               "save_steps": 9, "max_steps": None},
        "cluster": {"nodes": 2, "gpus_per_node": 4, "engines": 4, "tensor_parallel_size": 2,
                    "engine_memory": 0.4, "zero_stage": 2, "offload_optimizer": True,
                    "freeze_vision": True, "attention": "sdpa", "sync_backend": "gloo", "eager": True,
                    "measure_mismatch": True},
    }  # fmt: skip
    assert flags_of(values, seed=11) == {
        "actor.model_name_or_path": "/start",
        "actor.num_nodes": "2",
        "actor.num_gpus_per_node": "4",
        "actor.adam.lr": "1e-05",
        "actor.adam.betas": "0.9 0.95",
        "actor.lr_scheduler": "constant_with_warmup",
        "actor.lr_warmup_ratio": "0.06",
        "actor.max_norm": "0.7",
        "actor.eps_clip": "0.25",
        "actor.loss_agg_mode": "token-mean",
        "actor.gradient_checkpointing_enable": "",
        "actor.freeze_visual_encoder": "",
        "ref.num_nodes": "2",
        "ref.num_gpus_per_node": "4",
        "vllm.num_engines": "4",
        "vllm.tensor_parallel_size": "2",
        "vllm.gpu_memory_utilization": "0.4",
        "vllm.sync_backend": "gloo",
        "vllm.enforce_eager": "",
        "train.colocate_all": "",
        "vllm.enable_sleep": "",
        "ds.enable_sleep": "",
        "ds.zero_stage": "2",
        "ds.param_dtype": "bf16",
        "ds.attn_implementation": "sdpa",
        "ds.adam_offload": "",
        "algo.advantage.estimator": "reinforce",
        "algo.advantage.is_correction_level": "token",
        "algo.kl.init_coef": "0.01",
        "algo.kl.estimator": "k1",
        "data.prompt_dataset": "/prompts",
        "data.input_key": "input",
        "data.label_key": "label",
        "data.image_key": "images",
        "data.max_images_per_prompt": "6",
        "data.max_len": "350",
        "rollout.max_new_tokens": "50",
        "rollout.batch_size": "48",
        "rollout.n_samples_per_prompt": "4",
        "rollout.micro_batch_size": "3",
        "rollout.temperature": "0.9",
        "train.batch_size": "24",
        "train.micro_batch_size": "3",
        "train.num_episodes": "7",
        "train.max_epochs": "5",
        "train.seed": "11",
        "train.agent_func_path": "/agent",
        "ckpt.path": "/out/checkpoints",
        "ckpt.output_dir": "/out/model",
        "ckpt.save_steps": "9",
        "ckpt.load_enable": "",
        "logger.tensorboard_dir": "/out/tensorboard",
    }


# Another value of each setting that is a flag, the flag and what it says then (None: it is left out).
CHANGES: dict[str, dict[str, tuple[Any, str, str | None]]] = {
    "rl": {
        "algorithm": ("grpo", "algo.advantage.estimator", "group_norm"),
        "learning_rate": (2e-6, "actor.adam.lr", "2e-06"),
        "rollout_batch_size": (96, "rollout.batch_size", "96"),
        "train_batch_size": (48, "train.batch_size", "48"),
        "micro_batch_size": (1, "train.micro_batch_size", "1"),
        "samples_per_prompt": (8, "rollout.n_samples_per_prompt", "8"),
        "inner_epochs": (2, "train.max_epochs", "2"),
        "temperature": (0.5, "rollout.temperature", "0.5"),
        "clip_eps": (0.1, "actor.eps_clip", "0.1"),
        "loss_reduction": ("response", "actor.loss_agg_mode", "seq-mean-token-mean"),
        "kl_coef": (0.2, "algo.kl.init_coef", "0.2"),
        "max_grad_norm": (0.4, "actor.max_norm", "0.4"),
        "warmup_ratio": (0.5, "actor.lr_warmup_ratio", "0.5"),
        "schedule": ("constant", "actor.lr_scheduler", "constant_with_warmup"),
        "save_steps": (2, "ckpt.save_steps", "2"),
    },
    "cluster": {
        "nodes": (1, "actor.num_nodes", "1"),
        "gpus_per_node": (2, "actor.num_gpus_per_node", "2"),
        "engines": (4, "vllm.num_engines", "4"),
        "tensor_parallel_size": (2, "vllm.tensor_parallel_size", "2"),
        "colocate": (False, "train.colocate_all", None),
        "sync_backend": ("gloo", "vllm.sync_backend", "gloo"),
        "zero_stage": (2, "ds.zero_stage", "2"),
        "gradient_checkpointing": (False, "actor.gradient_checkpointing_enable", None),
        "offload_optimizer": (True, "ds.adam_offload", ""),
        "freeze_vision": (True, "actor.freeze_visual_encoder", ""),
        "attention": ("eager", "ds.attn_implementation", "eager"),
        "engine_memory": (0.3, "vllm.gpu_memory_utilization", "0.3"),
        "eager": (True, "vllm.enforce_eager", ""),
        "measure_mismatch": (True, "algo.advantage.is_correction_level", "token"),
    },
}
# What has to change with a setting, so that engines and actors still share the same GPUs.
TOGETHER = {"nodes": {"engines": 4}, "gpus_per_node": {"engines": 4}, "tensor_parallel_size": {"engines": 4},
            "engines": {"tensor_parallel_size": 2}}  # fmt: skip
# Settings that are no flag: what reaches the workers another way, and what OpenRLHF cannot follow.
BY_HOOK = {"pre_clip", "advantage_limit"}
BY_REWARD = {"consistency_weight", "external_consistency", "contradicted_reward"}
BY_LENGTH = {"epochs", "max_steps"}
NOT_FOLLOWED = {"collapse_patience"}  # docs/cluster.md, "Differences that remain"
REFUSED = {"rollout_lag": 2, "rollout_precision": "bfloat16"}


@pytest.mark.parametrize(
    ("section", "name"), [(section, name) for section, values in CHANGES.items() for name in values]
)
def test_a_setting_reaches_its_flag(section: str, name: str) -> None:
    value, flag, said = CHANGES[section][name]
    assert flags_of({}).get(flag) != said
    assert flags_of({section: {**TOGETHER.get(name, {}), name: value}}).get(flag) == said


def test_groups_that_are_not_normalised_are_dr_grpo() -> None:
    estimators = [
        flags_of({"rl": {"algorithm": "grpo", "normalize_groups": on}})["algo.advantage.estimator"]
        for on in (True, False)
    ]
    assert estimators == ["group_norm", "dr_grpo"]


@pytest.mark.parametrize("name", REFUSED)
def test_what_one_process_alone_can_do_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        flags_of({"rl": {name: REFUSED[name]}})


def test_every_setting_is_followed() -> None:
    """A new setting has to reach a worker, or be named among those that do not."""
    assert set(ClusterSettings.model_fields) == set(CHANGES["cluster"])
    others = BY_HOOK | BY_REWARD | BY_LENGTH | NOT_FOLLOWED | {*REFUSED, "normalize_groups"}
    assert set(RLSettings.model_fields) == set(CHANGES["rl"]) | others
