"""Training methods: each asks a separator for estimates and says what they cost."""

from sb_ext.objectives.attractor import AttractorLearning
from sb_ext.objectives.mixcycle import MixCycle
from sb_ext.objectives.mixit import MixIT
from sb_ext.objectives.mixpit import MixPIT
from sb_ext.objectives.one_and_rest import OneAndRest
from sb_ext.objectives.pit import PIT
from sb_ext.objectives.pit_dm import PITDynamicMixing
from sb_ext.objectives.sample_dropout import KeptAssignment, SampleDropout

__all__ = [
    "PIT",
    "AttractorLearning",
    "KeptAssignment",
    "MixCycle",
    "MixIT",
    "MixPIT",
    "OneAndRest",
    "PITDynamicMixing",
    "SampleDropout",
]
