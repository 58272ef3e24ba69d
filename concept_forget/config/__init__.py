"""Every setting: typed, bounded, described, with its default. The only place that knows a default."""

from __future__ import annotations

from concept_forget.config.attacks import (
    AttackerConfig,
    SamplingConfig,
    SearchConfig,
)
from concept_forget.config.compare import (
    CompareConfig,
)
from concept_forget.config.data import (
    CorpusSource,
    DataConfig,
    RowFile,
)
from concept_forget.config.execution import (
    ExecutionConfig,
)
from concept_forget.config.gates import (
    GatesConfig,
    JudgeConfig,
)
from concept_forget.config.graders import (
    GradingJudgeConfig,
)
from concept_forget.config.models import (
    GeneratorConfig,
    ModelChoice,
)
from concept_forget.config.unlearn import (
    METHOD_OPTIONS,
    PROCEDURES,
    TRAINED_FROM_ROWS,
    TRAININGS,
    AdapterName,
    LoraConfig,
    MethodName,
    RetainName,
    UnlearnConfig,
)
from concept_forget.config.verbs import (
    ComposeConfig,
    ExpandConfig,
    MineConfig,
    ProbeConfig,
    ReportConfig,
)
from concept_forget.config.whole import (
    Config,
    Origin,
)

__all__ = [
    "METHOD_OPTIONS",
    "PROCEDURES",
    "TRAINED_FROM_ROWS",
    "TRAININGS",
    "AdapterName",
    "AttackerConfig",
    "CompareConfig",
    "ComposeConfig",
    "Config",
    "CorpusSource",
    "DataConfig",
    "ExecutionConfig",
    "ExpandConfig",
    "GatesConfig",
    "GeneratorConfig",
    "GradingJudgeConfig",
    "JudgeConfig",
    "LoraConfig",
    "MethodName",
    "MineConfig",
    "ModelChoice",
    "Origin",
    "ProbeConfig",
    "ReportConfig",
    "RetainName",
    "RowFile",
    "SamplingConfig",
    "SearchConfig",
    "UnlearnConfig",
]
