"""One config, several runs of it: arms that differ in a few settings, each repeated over several worlds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, StringConstraints, model_validator

from concept_forget.config.section import Section

ArmName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,59}$")]
Settings = Annotated[dict[str, Any], Field(max_length=100)]


class CompareConfig(Section):
    """Runs of one config side by side: every arm with every repetition, under `output/ARM/REPETITION`."""

    arms: dict[ArmName, Settings] = Field(
        min_length=1,
        max_length=100,
        description="Arm → the settings in which it differs, as {section.key: value}; {}: the config as it is. "
        "Its name is a folder's: letters, digits, and . _ + - behind the first.",
    )
    worlds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (), max_length=100, description="Repeat every arm on these sandbox worlds, target and reference alike."
    )
    over: tuple[Settings, ...] = Field(
        (), max_length=100, description="Or repeat every arm with each of these settings, as {section.key: value}."
    )
    gap: tuple[str, str] | None = Field(
        None, description="Two arms, the poorer first: what the others close of the gap between them is reported."
    )

    @model_validator(mode="after")
    def _parts_fit(self) -> CompareConfig:
        if self.worlds and self.over:
            raise ValueError("give `worlds: [NUMBER, …]` or `over: [{section.key: value}, …]`, not both")
        if len(set(self.worlds)) < len(self.worlds):
            raise ValueError("`worlds` names a world twice")
        if len({name.casefold() for name in self.arms}) < len(self.arms):
            raise ValueError("two arms have the same name but for capitals, and some disks tell no capitals apart")
        if self.gap is not None:
            unknown = [name for name in self.gap if name not in self.arms]
            if unknown or self.gap[0] == self.gap[1]:
                raise ValueError(f"`gap` needs the names of two arms; the arms are {', '.join(self.arms)}")
        return self
