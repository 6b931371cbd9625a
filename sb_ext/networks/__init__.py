"""Networks from features to features."""

from sb_ext.networks.tcn import TemporalConvNet

__all__ = ["TemporalConvNet"]
