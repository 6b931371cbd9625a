"""What an estimate costs beside a target."""

from sb_ext.losses.circle import CircleLoss
from sb_ext.losses.pairwise import NegSISDR, NegSNR, pairwise_neg_sisdr, pairwise_neg_snr

__all__ = ["CircleLoss", "NegSISDR", "NegSNR", "pairwise_neg_sisdr", "pairwise_neg_snr"]
