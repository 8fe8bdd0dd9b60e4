"""The stages of a run: cold start, baselines, RL and its judges, benchmarks, downstream training."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from r1reward.settings.base import Address, KeyVariable, ModelName, ServerSettings, Settings
from r1reward.settings.inputs import AnnotatorSettings, EngineName

Algorithm = Literal["reinforce", "ppo", "reinforce_pp", "grpo", "stable_reinforce"]


class SFTSettings(Settings):
    """Long-CoT cold start (paper §3.2, §4)."""

    epochs: float = Field(default=1.0, gt=0)  # passes over the cold-start data
    learning_rate: float = Field(default=1e-5, gt=0)  # peak learning rate of AdamW
    batch_size: int = Field(default=256, ge=1)  # examples an update
    micro_batch_size: int = Field(default=64, ge=1)  # examples a forward pass
    max_examples: int | None = Field(default=None, ge=1)  # use only so many examples, drawn by the seed
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)  # share of the steps with rising learning rate
    save_steps: int = Field(default=50, ge=1)  # updates between checkpoints


class WeakAnnotatorSettings(AnnotatorSettings):
    """The server of the weak annotator (paper C.8)."""

    model: ModelName = "Qwen/Qwen2.5-VL-7B-Instruct"
    base_url: Address = "http://localhost:8000/v1"
    key_variable: KeyVariable = ""


class AnnotatorStudySettings(Settings):
    """Cold starts from a weaker annotator's answers (paper C.8, Table 10).

    With `data.annotator = "openai"` the weak annotator is the server's model in `openai`; else it is the
    base model without its last layers, after a short lesson.
    """

    pairs: int = Field(default=6000, ge=1)  # pairs that every annotator is asked about
    # Of the sampled arm, and of a small model's later attempts.
    temperature: float = Field(default=1.0, gt=0, le=2)
    layers: int = Field(default=3, ge=1)  # decoder layers of the base model that are kept
    lessons: int = Field(default=3000, ge=1)  # cold-start examples on other pairs it learns from
    epochs: float = Field(default=1.0, gt=0)  # passes over lessons or answers
    learning_rate: float = Field(default=1e-5, gt=0)  # peak learning rate
    batch_size: int = Field(default=256, ge=1)  # examples an update
    openai: WeakAnnotatorSettings = WeakAnnotatorSettings()  # the server of the weak annotator


class RewardModelSettings(SFTSettings):
    """The reward models with a head that Table 5 compares with (paper §4.1); an example is a pair."""

    # Weight of the critique loss beside the Bradley-Terry loss.
    critique_weight: float = Field(default=1.0, ge=0)


class RLSettings(Settings):
    """StableReinforce and the algorithms beside it (paper §3, §4)."""

    algorithm: Algorithm = "stable_reinforce"  # policy loss and advantage rule
    learning_rate: float = Field(default=1e-6, gt=0)  # peak learning rate of AdamW
    rollout_batch_size: int = Field(default=256, ge=1)  # prompts a rollout
    # Samples an update; the paper's 256/128 gives two updates.
    train_batch_size: int = Field(default=128, ge=1)
    micro_batch_size: int = Field(default=128, ge=1)  # samples a forward pass
    samples_per_prompt: int = Field(default=1, ge=1)  # answers sampled for each prompt
    epochs: int = Field(default=5, ge=1)  # passes over the RL subset
    max_steps: int | None = Field(default=None, ge=1)  # stop after so many rollouts, whatever the epochs
    inner_epochs: int = Field(default=1, ge=1)  # passes over one rollout
    # Rollouts are sampled by the policy of so many rollouts ago, as in asynchronous RL. Each costs a copy of
    # the trained weights, in memory and in checkpoints.
    rollout_lag: int = Field(default=0, ge=0)
    # Rollouts and old log-probs come from weights rounded to this type, as an inference engine's are.
    rollout_precision: Literal["same", "bfloat16", "float16"] = "same"
    temperature: float = Field(default=1.0, gt=0)  # sampling temperature of the rollouts
    clip_eps: float = Field(default=0.2, gt=0, lt=1)  # PPO clipping range
    # Bound of the ratio before the exponential, above 1.
    pre_clip: float | Literal["default", "off"] = "default"
    # Standardised advantages beyond it, above 0, become 0.
    advantage_limit: float | Literal["default", "off"] = "default"
    # KL penalty against the starting policy; 0 loads no reference model.
    kl_coef: float = Field(default=0.0, ge=0)
    normalize_groups: bool = True  # GRPO divides rewards by the deviation of their group; Dr. GRPO does not
    consistency_weight: float = Field(default=0.5, ge=0)  # weight of the consistency reward inside the gate
    external_consistency: bool = False  # add the consistency reward outside the gate (paper Eq. 1)
    # The consistency reward of a contradicted answer; the authors' script gives -1.
    contradicted_reward: float = Field(default=0.0, ge=-1, le=0)
    # The loss is a mean over tokens (the paper's 1/|t|) or over responses (the release).
    loss_reduction: Literal["token", "response"] = "token"
    # Steps in a row after which fallen answers end a run; 0 lets it go on.
    collapse_patience: int = Field(default=5, ge=0)
    max_grad_norm: float = Field(default=1.0, gt=0)  # gradients are scaled down to this norm
    warmup_ratio: float = Field(default=0.03, ge=0, le=1)  # share of the updates with rising learning rate
    # The rate after warm-up; a cosine ends at a tenth of the peak.
    schedule: Literal["constant", "cosine"] = "cosine"
    save_steps: int = Field(default=10, ge=1)  # rollouts between checkpoints

    @field_validator("pre_clip", "advantage_limit")
    @classmethod
    def _keeps_something(cls, value: float | str, info: ValidationInfo) -> float | str:
        """A ratio of 1 has to pass Pre-CLIP, and some advantage the filter."""
        smallest = 1 if info.field_name == "pre_clip" else 0
        if isinstance(value, float) and value <= smallest:
            raise ValueError(f"must be above {smallest}")
        return value

    @model_validator(mode="after")
    def _answers_are_compared(self) -> Self:
        """An advantage is a difference from other answers: of the group in GRPO, else of the rollout."""
        if self.algorithm == "grpo" and self.samples_per_prompt == 1:
            raise ValueError("grpo compares answers to one prompt: samples_per_prompt must be above 1")
        if self.rollout_batch_size * self.samples_per_prompt == 1:
            raise ValueError(
                "a rollout of one answer has nothing to compare it with: raise rollout_batch_size"
            )
        return self


class JudgeSettings(Settings):
    """Training of a small consistency judge (stands for Qwen2.5-VL-7B, paper §3.2)."""

    examples: int = Field(default=3000, ge=2)  # opinions it learns from
    epochs: float = Field(default=1.0, gt=0)  # passes over them
    learning_rate: float = Field(default=1e-3, gt=0)  # peak learning rate of AdamW
    batch_size: int = Field(default=32, ge=1)  # opinions an update


class JudgeServerSettings(ServerSettings):
    """The server of the consistency judge; an answer is one digit."""

    model: ModelName = "Qwen/Qwen2.5-VL-7B-Instruct"
    max_tokens: int = Field(default=16, ge=1)  # most tokens an answer may have


class WeakJudgeServerSettings(JudgeServerSettings):
    """The server of the weaker consistency judge (paper Table 13)."""

    model: ModelName = "Qwen/Qwen2.5-VL-3B-Instruct"
    base_url: Address = "http://localhost:8001/v1"


class JudgesSettings(Settings):
    """The consistency judges, a strong and a weak one (paper §3.2, Table 13)."""

    # Small models that are trained for it, or models behind a server.
    name: Literal["trained", "server"] = "trained"
    server: JudgeServerSettings = JudgeServerSettings()  # the strong judge where `name` is 'server'
    # The weak judge where `name` is 'server'.
    weak_server: WeakJudgeServerSettings = WeakJudgeServerSettings()
    strong: JudgeSettings = JudgeSettings()  # used in every run but those of Table 13
    weak: JudgeSettings = JudgeSettings()  # one that has learnt less


class StressSettings(Settings):
    """Size of the runs off policy that show when training breaks (`train.stress`)."""

    rollout_batch_size: int = Field(default=32, ge=2)  # prompts a rollout; updates take half
    steps: int = Field(default=40, ge=1)  # rollouts of a run
    seeds: int = Field(default=10, ge=1, le=100)  # seeds for the search
    # Other seeds for the cell that is found. About half of them collapse: of fewer than twelve, too few tell
    # two algorithms apart.
    fresh_seeds: int = Field(default=12, ge=1)
    cells: int = Field(default=7, ge=1)  # so many cells are tried at most, mildest first


class ClusterSettings(Settings):
    """RL on OpenRLHF: Ray, DeepSpeed and vLLM."""

    nodes: int = Field(default=1, ge=1)  # machines that train
    gpus_per_node: int = Field(default=4, ge=1)  # GPUs of each that train
    engines: int = Field(default=4, ge=1)  # vLLM engines that generate
    tensor_parallel_size: int = Field(default=1, ge=1)  # GPUs of an engine
    colocate: bool = True  # training and generation take turns on the same GPUs
    sync_backend: Literal["nccl", "gloo"] = "nccl"  # how weights reach the engines
    zero_stage: Literal[2, 3] = 3  # what DeepSpeed's ZeRO shards
    gradient_checkpointing: bool = True  # recompute activations to save memory
    offload_optimizer: bool = False  # keep the optimizer's state in main memory
    freeze_vision: bool = False  # train the language model alone
    attention: str = "flash_attention_2"  # attention of the model that RL trains
    engine_memory: float = Field(default=0.5, gt=0, le=1)  # share of a GPU that an engine takes
    eager: bool = False  # no compiled graphs in the engines
    # Weigh tokens by how far trainer and engine disagree about them, and log how far.
    measure_mismatch: bool = False


class BenchSettings(Settings):
    """How reward benchmarks are run."""

    # Temperature of the sampled pass beside the greedy one.
    sampled_temperature: float = Field(default=1.0, gt=0)
    # How an answer without a verdict is scored, votes aside: wrong, its pair left out, or a coin.
    unparsed: Literal["wrong", "drop", "coin"] = "wrong"
    # Questions a skill when the base model's sight is measured.
    perception_cases: int = Field(default=500, ge=1)
    steered_pairs: int = Field(default=300, ge=1)  # pairs whose worse response is made to steer the judge
    real_rows: int = Field(default=1250, ge=1)  # rows of the real text file that are judged where it is there


class ScalingSettings(Settings):
    """Test-time scaling (paper C.5, C.10)."""

    samples: int = Field(default=16, ge=3)  # answers for each pair and order; votes are drawn of them
    pairs: int = Field(default=1500, ge=1)  # about so many pairs of each benchmark, spread over it


class RatingSettings(Settings):
    """Blind comparison of two judges' reasoning (paper C.7, Table 9)."""

    items: int = Field(default=200, ge=1)  # pairs that are rated
    raters: int = Field(default=3, ge=1)  # scripted raters, where no people rate


class DownstreamSettings(Settings):
    """A policy that learns from R1-Reward's comparisons alone (paper C.9, Table 11)."""

    # The model that is trained; 'mini' is made here.
    policy: str = Field(default="Qwen/Qwen2.5-VL-3B-Instruct", min_length=1)
    root: str = ""  # folder of prompt sets and benchmarks; empty means the mini world
    # Engine of the judge, if it is not the policy's: 'openai' asks its server.
    judge_engine: EngineName | None = None
    harness: str = ""  # work folder of VLMEvalKit, whose results then count; empty answers here
    prompts: int = Field(default=50_000, ge=1)  # prompts drawn from all sets together
    # Only prompts to which so many (from, to) of a group sampled from the start are the reference's answer;
    # all unless given.
    right_answers: tuple[int, int] | None = None
    max_new_tokens: int = Field(default=512, ge=1)  # most tokens an answer of the policy may have
    # Which answers to a prompt are compared; the paper compares all.
    tournament: Literal["all", "random", "swiss"] = "all"
    rounds: int = Field(default=3, ge=1)  # rounds of a random or Swiss tournament
    # Prompts on which cheaper tournaments are held against the full one.
    tournament_prompts: int = Field(default=200, ge=1)
    rl: RLSettings = RLSettings(algorithm="grpo", samples_per_prompt=8, epochs=1)  # its training
    layers: tuple[int, ...] = (0, 1, 3)  # decoder layers of the shipped model that the mini policy keeps
    lessons: int = Field(default=6000, ge=1)  # answered questions the mini policy learns from
    sft: SFTSettings = SFTSettings()  # how it learns from them
    questions: int = Field(default=120, ge=4)  # questions of each benchmark of the mini world
    # Answers sampled to each question of a benchmark, beside the greedy one.
    draws: int = Field(default=4, ge=1)

    @field_validator("right_answers")
    @classmethod
    def _a_range_of_counts(cls, value: tuple[int, int] | None) -> tuple[int, int] | None:
        if value is not None and not 0 <= value[0] <= value[1]:
            raise ValueError("must be two counts, the smaller one first")
        return value

    @field_validator("layers")
    @classmethod
    def _layers_of_a_model(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or min(value) < 0 or len(set(value)) < len(value):
            raise ValueError("must be different layers, counted from 0")
        return value
