"""Every setting of a run, typed and bounded; a profile (`r1reward.config`) gives them values."""

from __future__ import annotations

from pydantic import Field

from r1reward.settings.base import (
    HOW_ASKED,
    Address,
    ConnectionSettings,
    KeyVariable,
    ModelName,
    ServerParameter,
    ServerSettings,
    Settings,
    UndeclaredSettingError,
    setting_names,
)
from r1reward.settings.data import (
    AnnotatorSettings,
    DataSettings,
    WorldSettings,
)
from r1reward.settings.evaluation import (
    BenchSettings,
    DownstreamSettings,
    RatingSettings,
    ScalingSettings,
)
from r1reward.settings.model import (
    EngineName,
    EngineServerSettings,
    EngineSettings,
    LoraSettings,
    ModelSettings,
    VLLMSettings,
)
from r1reward.settings.training import (
    Algorithm,
    AnnotatorStudySettings,
    ClusterSettings,
    JudgeServerSettings,
    JudgeSettings,
    JudgesSettings,
    RewardModelSettings,
    RLSettings,
    SFTSettings,
    StressSettings,
    WeakAnnotatorSettings,
    WeakJudgeServerSettings,
)

__all__ = [
    "HOW_ASKED",
    "Address",
    "Algorithm",
    "AnnotatorSettings",
    "AnnotatorStudySettings",
    "BenchSettings",
    "ClusterSettings",
    "ConnectionSettings",
    "DataSettings",
    "DownstreamSettings",
    "EngineName",
    "EngineServerSettings",
    "EngineSettings",
    "JudgeServerSettings",
    "JudgeSettings",
    "JudgesSettings",
    "KeyVariable",
    "LoraSettings",
    "ModelName",
    "ModelSettings",
    "Profile",
    "RLSettings",
    "RatingSettings",
    "RewardModelSettings",
    "SFTSettings",
    "ScalingSettings",
    "ServerParameter",
    "ServerSettings",
    "Settings",
    "StressSettings",
    "UndeclaredSettingError",
    "VLLMSettings",
    "WeakAnnotatorSettings",
    "WeakJudgeServerSettings",
    "WorldSettings",
    "setting_names",
]


class Profile(Settings):
    """All settings of a run."""

    name: str = Field(
        pattern=r"^\w[\w.-]*(\+\w[\w.-]*)*$",
        max_length=80,
        description="Name of the profile, a file name; results and figures are filed under it.",
    )
    sentence: str = Field(description="What this profile is for.")
    seeds: int = Field(default=1, ge=1, le=1000, description="Independent repetitions of every training run.")
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
