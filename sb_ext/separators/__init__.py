"""Models that turn mixtures into source estimates."""

from sb_ext.separators.ideal import IdealRatioMask
from sb_ext.separators.masking import Masking, SpectralMasking

__all__ = ["IdealRatioMask", "Masking", "SpectralMasking"]
