"""Networks from features to features."""

from sb_ext.networks.blstm import BLSTM
from sb_ext.networks.dual_path_transformer import DualPathTransformer
from sb_ext.networks.tcn import TemporalConvNet

__all__ = ["BLSTM", "DualPathTransformer", "TemporalConvNet"]
