"""Every setting of a run, typed and bounded; a profile (`r1reward.config`) gives them values."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

EngineName = Literal["transformers", "vllm", "openai"]
Algorithm = Literal["reinforce", "ppo", "reinforce_pp", "grpo", "stable_reinforce"]
ModelName = Annotated[str, Field(min_length=1, description="Name of the model at the server.")]
Address = Annotated[
    str,
    Field(
        pattern=r"^https?://[^@?#\s]+$",
        description="Address of the server, up to /v1 and without credentials.",
    ),
]
KeyVariable = Annotated[
    str, Field(description="Environment variable that holds the key; empty for a server without keys.")
]


class Settings(BaseModel):
    """Base of all settings: unknown keys are refused, values are frozen."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class LoraSettings(Settings):
    """Training of low-rank adapters in place of all weights (extra lora)."""

    rank: int = Field(default=0, ge=0, description="Rank of the adapters; 0 trains all weights.")
    alpha: int = Field(default=32, ge=1, description="The adapters' share is alpha / rank.")


class ModelSettings(Settings):
    """Which model is trained and how it sees pictures."""

    base: str = Field(
        default="mini", description="Checkpoint folder or hub id; 'mini' is the shipped tiny Qwen2.5-VL."
    )
    prompt: Literal["mini", "paper", "reworded"] = Field(
        default="mini",
        description="Judge prompt: the short one, the paper's Table 1, or other words for the short one.",
    )
    min_pixels: int = Field(default=28 * 28, ge=28 * 28, description="Smallest picture area after resizing.")
    max_pixels: int = Field(
        default=640 * 28 * 28, ge=28 * 28, description="Largest picture area after resizing."
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Floating point type of the weights."
    )
    lora: LoraSettings = Field(default=LoraSettings(), description="Adapters that are trained, for one card.")


class ConnectionSettings(Settings):
    """A model behind an OpenAI-compatible server, and how it is reached."""

    model: ModelName
    base_url: Address = "http://localhost:8000/v1"
    key_variable: KeyVariable = ""
    concurrency: int = Field(default=8, ge=1, le=512, description="Requests at the same time.")
    timeout_seconds: float = Field(default=120.0, gt=0, description="Longest time for one request.")
    max_retries: int = Field(
        default=6, ge=0, description="Repetitions of a request without an answer before it has failed."
    )
    price_input: float = Field(
        default=0.0, ge=0, description="US dollars for a million prompt tokens; 0 shows tokens instead."
    )
    price_output: float = Field(default=0.0, ge=0, description="US dollars for a million tokens of answers.")


class EngineServerSettings(ConnectionSettings):
    """The server of the engine 'openai'; temperature and seeds come with each request."""

    model: str = Field(
        default="", description="Name of the model; empty is the checkpoint's, another is refused."
    )


class VLLMSettings(Settings):
    """Generation with vLLM in this process."""

    memory: float = Field(default=0.9, gt=0, le=1, description="Share of the GPU's memory it takes.")
    eager: bool = Field(default=False, description="No compiled graphs: a quicker start, slower answers.")
    pictures: int = Field(default=8, ge=1, description="Most pictures of a prompt, video frames aside.")


class EngineSettings(Settings):
    """How completions are generated."""

    name: EngineName = Field(
        default="transformers",
        description="In this process, vLLM in this process (extra vllm), or a server (extra api).",
    )
    batch_size: int = Field(default=256, ge=1, description="Largest number of sequences generated at once.")
    max_prompt_tokens: int = Field(
        default=1024, ge=16, description="A longer prompt is refused with a clear error."
    )
    max_new_tokens: int = Field(default=64, ge=1, description="Most tokens an answer may have.")
    vllm: VLLMSettings = Field(default=VLLMSettings(), description="For the engine 'vllm'.")
    openai: EngineServerSettings = Field(
        default=EngineServerSettings(), description="The server of the engine 'openai'."
    )


class WorldSettings(Settings):
    """How much of the mini world is written when the real files are absent."""

    pairs_per_source: int = Field(
        default=3000, ge=1, description="Preference rows written for each training source."
    )
    benchmark_pairs: int = Field(default=1500, ge=1, description="Pairs of the held-out mini VL-RewardBench.")
    multimodal_pairs: int = Field(default=700, ge=7, description="Pairs of the mini Multimodal RewardBench.")
    mm_rlhf_pairs: int = Field(default=170, ge=5, description="Pairs of the mini MM-RLHF-RewardBench.")
    validation_pairs: int = Field(
        default=400, ge=1, description="Pairs of the validation split, for choosing settings."
    )


class ServerSettings(ConnectionSettings):
    """A model behind an OpenAI-compatible server, and how it is asked."""

    temperature: float = Field(default=0.0, ge=0, le=2, description="Sampling temperature.")
    seed: int | None = Field(default=None, ge=0, description="Sent with each request.")
    max_tokens: int = Field(default=2048, ge=1, description="Most tokens an answer may have.")


class AnnotatorSettings(ServerSettings):
    """The server that is asked where `data.annotator` is "openai" (paper §3.2)."""

    model: ModelName = "gpt-4o"
    base_url: Address = "https://api.openai.com/v1"
    key_variable: KeyVariable = "OPENAI_API_KEY"
    retry_temperature: float | None = Field(
        default=None, ge=0, le=2, description="Temperature from the second attempt on, if it is another one."
    )
    seed: int | None = Field(
        default=None, ge=0, description="Sent with each request, raised by one for each further attempt."
    )
    folder: str = Field(
        default="",
        description="Where paid answers outlive a run; empty keeps them in the run, which new code discards.",
    )


class DataSettings(Settings):
    """How R1-Reward-200K is built (paper §3.2)."""

    root: str = Field(default="", description="Folder of the original data sets; empty means the mini world.")
    sampled_pairs: int = Field(
        default=100_000, ge=1, description="Pairs sampled from the sources that are not taken whole."
    )
    near_duplicate: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Share of common word triples from which two pairs about one picture are the same.",
    )
    overlap: Literal["report", "remove"] = Field(
        default="report", description="Whether pairs that are in a benchmark too stay or go."
    )
    validation_pairs: int = Field(
        default=400, ge=1, description="Pairs held out for choosing settings where no source is for that."
    )
    annotator: Literal["scripted", "openai"] = Field(
        default="scripted",
        description="Who writes the long chains of thought: a script, or a server's model.",
    )
    openai: AnnotatorSettings = Field(
        default=AnnotatorSettings(), description="The server of the annotator 'openai'."
    )
    max_attempts: int = Field(
        default=3, ge=1, description="Attempts of the annotator for a pair; attempts are its difficulty."
    )
    annotator_noise: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Misreading rate of the scripted annotator per unit of difficulty.",
    )


class SFTSettings(Settings):
    """Long-CoT cold start (paper §3.2, §4)."""

    epochs: float = Field(default=1.0, gt=0, description="Passes over the cold-start data.")
    learning_rate: float = Field(default=1e-5, gt=0, description="Peak learning rate of AdamW.")
    batch_size: int = Field(default=256, ge=1, description="Examples an update.")
    micro_batch_size: int = Field(default=64, ge=1, description="Examples a forward pass.")
    max_examples: int | None = Field(
        default=None, ge=1, description="Use only so many examples, drawn by the seed."
    )
    warmup_ratio: float = Field(
        default=0.03, ge=0, le=1, description="Share of the steps with rising learning rate."
    )
    save_steps: int = Field(default=50, ge=1, description="Updates between checkpoints.")


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

    pairs: int = Field(default=6000, ge=1, description="Pairs that every annotator is asked about.")
    seed: int = Field(default=0, ge=0, description="Draws these pairs.")
    temperature: float = Field(
        default=1.0, gt=0, le=2, description="Of the sampled arm, and of a small model's later attempts."
    )
    layers: int = Field(default=3, ge=1, description="Decoder layers of the base model that are kept.")
    lessons: int = Field(default=3000, ge=1, description="Cold-start examples on other pairs it learns from.")
    epochs: float = Field(default=1.0, gt=0, description="Passes over lessons or answers.")
    learning_rate: float = Field(default=1e-5, gt=0, description="Peak learning rate.")
    openai: WeakAnnotatorSettings = Field(
        default=WeakAnnotatorSettings(), description="The server of the weak annotator."
    )


class RewardModelSettings(SFTSettings):
    """The reward models with a head that Table 5 compares with (paper §4.1); an example is a pair."""

    critique_weight: float = Field(
        default=1.0, ge=0, description="Weight of the critique loss beside the Bradley-Terry loss."
    )


class RLSettings(Settings):
    """StableReinforce and the algorithms beside it (paper §3, §4)."""

    algorithm: Algorithm = Field(default="stable_reinforce", description="Policy loss and advantage rule.")
    learning_rate: float = Field(default=1e-6, gt=0, description="Peak learning rate of AdamW.")
    rollout_batch_size: int = Field(default=256, ge=1, description="Prompts a rollout.")
    train_batch_size: int = Field(
        default=128, ge=1, description="Samples an update; the paper's 256/128 gives two updates."
    )
    micro_batch_size: int = Field(default=128, ge=1, description="Samples a forward pass.")
    samples_per_prompt: int = Field(default=1, ge=1, description="Answers sampled for each prompt.")
    epochs: int = Field(default=5, ge=1, description="Passes over the RL subset.")
    max_steps: int | None = Field(
        default=None, ge=1, description="Stop after so many rollouts, whatever the epochs."
    )
    inner_epochs: int = Field(default=1, ge=1, description="Passes over one rollout.")
    temperature: float = Field(default=1.0, gt=0, description="Sampling temperature of the rollouts.")
    clip_eps: float = Field(default=0.2, gt=0, lt=1, description="PPO clipping range.")
    pre_clip: float | Literal["default", "off"] = Field(
        default="default", description="Bound of the ratio before the exponential."
    )
    advantage_limit: float | Literal["default", "off"] = Field(
        default="default", description="Standardised advantages beyond it become 0."
    )
    kl_coef: float = Field(
        default=0.0, ge=0, description="KL penalty against the starting policy; 0 loads no reference model."
    )
    consistency_weight: float = Field(
        default=0.5, ge=0, description="Weight of the consistency reward inside the gate."
    )
    external_consistency: bool = Field(
        default=False, description="Add the consistency reward outside the gate (paper Eq. 1)."
    )
    collapse_patience: int = Field(
        default=5, ge=0, description="Steps in a row after which fallen answers end a run; 0 lets it go on."
    )
    max_grad_norm: float = Field(default=1.0, gt=0, description="Gradients are scaled down to this norm.")
    warmup_ratio: float = Field(
        default=0.03, ge=0, le=1, description="Share of the updates with rising learning rate."
    )
    save_steps: int = Field(default=10, ge=1, description="Rollouts between checkpoints.")


class JudgeSettings(Settings):
    """Training of a small consistency judge (stands for Qwen2.5-VL-7B, paper §3.2)."""

    examples: int = Field(default=3000, ge=2, description="Opinions it learns from.")
    epochs: float = Field(default=1.0, gt=0, description="Passes over them.")
    learning_rate: float = Field(default=1e-3, gt=0, description="Peak learning rate of AdamW.")
    batch_size: int = Field(default=32, ge=1, description="Opinions an update.")


class JudgeServerSettings(ServerSettings):
    """The server of the consistency judge; an answer is one digit."""

    model: ModelName = "Qwen/Qwen2.5-VL-7B-Instruct"
    max_tokens: int = Field(default=16, ge=1, description="Most tokens an answer may have.")


class WeakJudgeServerSettings(JudgeServerSettings):
    """The server of the weaker consistency judge (paper Table 13)."""

    model: ModelName = "Qwen/Qwen2.5-VL-3B-Instruct"
    base_url: Address = "http://localhost:8001/v1"


class JudgesSettings(Settings):
    """The consistency judges, a strong and a weak one (paper §3.2, Table 13)."""

    name: Literal["trained", "server"] = Field(
        default="trained", description="Small models that are trained for it, or models behind a server."
    )
    server: JudgeServerSettings = Field(
        default=JudgeServerSettings(), description="The strong judge where `name` is 'server'."
    )
    weak_server: WeakJudgeServerSettings = Field(
        default=WeakJudgeServerSettings(), description="The weak judge where `name` is 'server'."
    )
    strong: JudgeSettings = Field(
        default=JudgeSettings(), description="Used in every run but those of Table 13."
    )
    weak: JudgeSettings = Field(default=JudgeSettings(), description="One that has learnt less.")


class StressSettings(Settings):
    """Size of the runs that look for a setting which breaks training (`train.stress`)."""

    rollout_batch_size: int = Field(default=64, ge=2, description="Prompts a rollout; updates take half.")
    steps: int = Field(default=40, ge=1, description="Rollouts of a run.")
    seeds: int = Field(default=5, ge=1, le=100, description="Seeds for the search, and as many fresh ones.")
    cells: int = Field(default=16, ge=1, description="At most so many cells are tried, mildest first.")


class BenchSettings(Settings):
    """How reward benchmarks are run."""

    sampled_temperature: float = Field(
        default=1.0, gt=0, description="Temperature of the sampled pass beside the greedy one."
    )
    unparsed: Literal["wrong", "drop", "coin"] = Field(
        default="wrong", description="How an answer without a verdict is scored."
    )
    perception_cases: int = Field(
        default=500, ge=1, description="Questions a skill when the base model's sight is measured."
    )
    steered_pairs: int = Field(
        default=300, ge=1, description="Pairs whose worse response is made to steer the judge."
    )
    real_rows: int = Field(
        default=1250, ge=1, description="Rows of the real text file that are judged where it is there."
    )


class ScalingSettings(Settings):
    """Test-time scaling (paper C.5, C.10)."""

    samples: int = Field(
        default=16, ge=3, description="Answers for each pair and order; votes are drawn of them."
    )
    pairs: int = Field(
        default=1500, ge=1, description="About so many pairs of each benchmark, spread over it."
    )


class RatingSettings(Settings):
    """Blind comparison of two judges' reasoning (paper C.7, Table 9)."""

    items: int = Field(default=200, ge=1, description="Pairs that are rated.")
    raters: int = Field(default=3, ge=1, description="Scripted raters, where no people rate.")
    folder: str = Field(
        default="", description="Where people's ratings outlive a run; empty keeps them in the run."
    )


class DownstreamSettings(Settings):
    """A policy that learns from R1-Reward's comparisons alone (paper C.9, Table 11)."""

    policy: str = Field(
        default="Qwen/Qwen2.5-VL-3B-Instruct", description="The model that is trained; 'mini' is made here."
    )
    root: str = Field(
        default="", description="Folder of prompt sets and benchmarks; empty means the mini world."
    )
    harness: str = Field(
        default="", description="Work folder of VLMEvalKit, whose results then count; empty answers here."
    )
    prompts: int = Field(default=50_000, ge=1, description="Prompts drawn from all sets together.")
    max_new_tokens: int = Field(
        default=512, ge=1, description="Most tokens an answer of the policy may have."
    )
    rl: RLSettings = Field(
        default=RLSettings(algorithm="grpo", samples_per_prompt=8, epochs=1), description="Its training."
    )
    layers: int = Field(
        default=3, ge=1, description="Decoder layers of the shipped model that the mini policy keeps."
    )
    lessons: int = Field(default=6000, ge=1, description="Answered questions the mini policy learns from.")
    sft: SFTSettings = Field(default=SFTSettings(), description="How it learns from them.")
    questions: int = Field(default=120, ge=4, description="Questions of each benchmark of the mini world.")


class ClusterSettings(Settings):
    """RL on OpenRLHF: Ray, DeepSpeed and vLLM."""

    nodes: int = Field(default=1, ge=1, description="Machines that train.")
    gpus_per_node: int = Field(default=4, ge=1, description="GPUs of each that train.")
    engines: int = Field(default=4, ge=1, description="vLLM engines that generate.")
    tensor_parallel_size: int = Field(default=1, ge=1, description="GPUs of an engine.")
    colocate: bool = Field(default=True, description="Training and generation take turns on the same GPUs.")
    sync_backend: Literal["nccl", "gloo"] = Field(
        default="nccl", description="How weights reach the engines."
    )
    zero_stage: Literal[2, 3] = Field(default=3, description="What DeepSpeed's ZeRO shards.")
    gradient_checkpointing: bool = Field(default=True, description="Recompute activations to save memory.")
    offload_optimizer: bool = Field(default=False, description="Keep the optimizer's state in main memory.")
    freeze_vision: bool = Field(default=False, description="Train the language model alone.")
    attention: str = Field(default="flash_attention_2", description="Attention of the model that RL trains.")
    engine_memory: float = Field(default=0.5, gt=0, le=1, description="Share of a GPU that an engine takes.")
    eager: bool = Field(default=False, description="No compiled graphs in the engines.")
    measure_mismatch: bool = Field(
        default=False,
        description="Weigh tokens by how far trainer and engine disagree about them, and log how far.",
    )


class Profile(Settings):
    """All settings of a run."""

    name: str = Field(description="Name of the profile; results and figures are filed under it.")
    sentence: str = Field(description="What this profile is for.")
    seeds: int = Field(default=1, ge=1, description="Independent repetitions of every training run.")
    processes: int = Field(
        default=1, ge=0, description="Runs side by side, each with one thread; 0 is one a core, 1 none."
    )
    model: ModelSettings = ModelSettings()
    engine: EngineSettings = EngineSettings()
    world: WorldSettings = WorldSettings()
    data: DataSettings = DataSettings()
    sft: SFTSettings = SFTSettings()
    annotators: AnnotatorStudySettings = AnnotatorStudySettings()
    reward_model: RewardModelSettings = RewardModelSettings()
    rl: RLSettings = RLSettings()
    judges: JudgesSettings = JudgesSettings()
    stress: StressSettings = StressSettings()
    bench: BenchSettings = BenchSettings()
    scaling: ScalingSettings = ScalingSettings()
    downstream: DownstreamSettings = DownstreamSettings()
    rating: RatingSettings = RatingSettings()
    cluster: ClusterSettings = ClusterSettings()
