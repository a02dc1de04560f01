"""The stages of Echo's training, by name."""

from typing import Dict, Type

from ume.training.stages.content import ContentStage
from ume.training.stages.factors import FactorsStage
from ume.training.stages.jepa import JepaStage
from ume.training.stages.slots import SlotsStage
from ume.training.stages.speakers import SpeakersStage
from ume.training.stages.stage import Stage

STAGE_CLASSES: Dict[str, Type[Stage]] = {
    "jepa": JepaStage,
    "content": ContentStage,
    "factors": FactorsStage,
    "speakers": SpeakersStage,
    "slots": SlotsStage,
}
