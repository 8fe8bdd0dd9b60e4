"""The flags of `openrlhf.cli.train_ppo_ray` (0.11.2) from the settings of a profile."""

from __future__ import annotations

from pathlib import Path

from r1reward.settings import Algorithm, Profile

# How the advantages of an algorithm are made; the loss is PPO's, with what `hook` puts into it.
ESTIMATORS: dict[Algorithm, str] = {
    "stable_reinforce": "reinforce",
    "reinforce_pp": "reinforce",
    "ppo": "reinforce",
    "grpo": "group_norm",
}
ADAM_BETAS = ("0.9", "0.95")
REDUCTIONS = {"token": "token-mean", "response": "seq-mean-token-mean"}
SCHEDULES = {"constant": "constant_with_warmup", "cosine": "cosine_with_min_lr"}
Flags = dict[str, str | tuple[str, ...] | bool]


def rl_flags(
    profile: Profile,
    *,
    start: Path,
    prompts: Path,
    pictures: int,
    passes: int,
    agent: Path,
    out: Path,
    seed: int,
) -> list[str]:
    """The command line of a run of so many passes; no prompt has more than `pictures` pictures.

    Raises ValueError for settings that OpenRLHF cannot follow.
    """
    rl, cluster, engine = profile.rl, profile.cluster, profile.engine
    _check(profile)
    flags: Flags = {
        "actor.model_name_or_path": str(start),
        "actor.num_nodes": str(cluster.nodes),
        "actor.num_gpus_per_node": str(cluster.gpus_per_node),
        "actor.adam.lr": str(rl.learning_rate),
        "actor.adam.betas": ADAM_BETAS,
        "actor.lr_scheduler": SCHEDULES[rl.schedule],
        "actor.lr_warmup_ratio": str(rl.warmup_ratio),
        "actor.max_norm": str(rl.max_grad_norm),
        "actor.eps_clip": str(rl.clip_eps),
        "actor.loss_agg_mode": REDUCTIONS[rl.loss_reduction],
        "actor.gradient_checkpointing_enable": cluster.gradient_checkpointing,
        "actor.freeze_visual_encoder": cluster.freeze_vision,
        "ref.num_nodes": str(cluster.nodes),
        "ref.num_gpus_per_node": str(cluster.gpus_per_node),
        "vllm.num_engines": str(cluster.engines),
        "vllm.tensor_parallel_size": str(cluster.tensor_parallel_size),
        "vllm.gpu_memory_utilization": str(cluster.engine_memory),
        "vllm.sync_backend": cluster.sync_backend,
        "vllm.enforce_eager": cluster.eager,
        "train.colocate_all": cluster.colocate,
        "vllm.enable_sleep": cluster.colocate,
        "ds.enable_sleep": cluster.colocate,
        "ds.zero_stage": str(cluster.zero_stage),
        "ds.param_dtype": "bf16",
        "ds.attn_implementation": cluster.attention,
        "ds.adam_offload": cluster.offload_optimizer,
        "algo.advantage.estimator": ESTIMATORS[rl.algorithm] if rl.normalize_groups else "dr_grpo",
        "algo.advantage.is_correction_level": "token" if cluster.measure_mismatch else "off",
        "algo.kl.init_coef": str(rl.kl_coef),
        "algo.kl.use_loss": rl.algorithm == "grpo" and rl.kl_coef > 0,
        "algo.kl.estimator": "k3" if rl.algorithm == "grpo" else "k1",
        "data.prompt_dataset": str(prompts),
        "data.input_key": "input",
        "data.label_key": "label",
        "data.image_key": "images",
        "data.max_images_per_prompt": str(pictures),
        "data.max_len": str(engine.max_prompt_tokens + engine.max_new_tokens),
        "rollout.max_new_tokens": str(engine.max_new_tokens),
        "rollout.batch_size": str(rl.rollout_batch_size),
        "rollout.n_samples_per_prompt": str(rl.samples_per_prompt),
        "rollout.micro_batch_size": str(rl.micro_batch_size),
        "rollout.temperature": str(rl.temperature),
        "train.batch_size": str(rl.train_batch_size),
        "train.micro_batch_size": str(rl.micro_batch_size),
        "train.num_episodes": str(passes),
        "train.max_epochs": str(rl.inner_epochs),
        "train.seed": str(seed),
        "train.agent_func_path": str(agent),
        "ckpt.path": str(out / "checkpoints"),
        "ckpt.output_dir": str(out / "model"),
        "ckpt.save_steps": str(rl.save_steps),
        "ckpt.load_enable": True,
        "logger.tensorboard_dir": str(out / "tensorboard"),
    }
    return list(_written(flags))


def _written(flags: Flags):
    for name, value in flags.items():
        if value is False:
            continue
        yield f"--{name}"
        if isinstance(value, tuple):
            yield from value
        elif value is not True:
            yield value


def _check(profile: Profile) -> None:
    rl, cluster = profile.rl, profile.cluster
    if rl.algorithm not in ESTIMATORS:
        raise ValueError(f"OpenRLHF has no {rl.algorithm}: rl.algorithm is one of {', '.join(ESTIMATORS)}")
    if profile.model.lora.rank:
        raise ValueError("model.lora is for one card: set model.lora.rank to 0")
    samples, actors = rl.rollout_batch_size * rl.samples_per_prompt, cluster.nodes * cluster.gpus_per_node
    if rl.train_batch_size % (rl.micro_batch_size * actors):
        raise ValueError(
            f"rl.train_batch_size {rl.train_batch_size} is no multiple of rl.micro_batch_size "
            f"{rl.micro_batch_size} x {actors} GPUs"
        )
    if samples % rl.train_batch_size:
        raise ValueError(f"{samples} samples a rollout are no multiple of rl.train_batch_size")
    engines = cluster.engines * cluster.tensor_parallel_size
    if cluster.colocate and engines != actors:
        raise ValueError(
            f"cluster.colocate shares GPUs: {engines} of the engines must be {actors} of the actors"
        )
