"""Models that turn mixtures into source estimates."""

from sb_ext.separators.attractor import AttractorMasking
from sb_ext.separators.ideal import IdealRatioMask
from sb_ext.separators.masking import Masking, SpectralMasking
from sb_ext.separators.one_and_rest import OneAndRest

__all__ = ["AttractorMasking", "IdealRatioMask", "Masking", "OneAndRest", "SpectralMasking"]
