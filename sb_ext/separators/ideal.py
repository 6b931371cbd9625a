"""Oracle separators, which see the true sources: upper bounds, nothing to train."""

from sb_ext.contracts import Separation, Separator


class IdealRatioMask(Separator):
    """Masks ``|S_c| / sum |S|`` on the mixture's spectrum (Wang et al. 2014), the IRM row of MixCycle's Table II.

    Arguments
    ---------
    filterbank : sb_ext.filterbanks.Stft

    Example
    -------
    >>> import torch
    >>> from sb_ext.filterbanks import Stft
    >>> sources = torch.randn(1, 2, 4000)
    >>> IdealRatioMask(Stft())(sources.sum(1), oracle=sources).sources.shape
    torch.Size([1, 2, 4000])
    """

    chooses_count = True

    def __init__(self, filterbank):
        super().__init__()
        self.filterbank = filterbank

    def forward(self, mixture, *, oracle=None, num_sources=None, layers=False):
        """See Separator; raises ValueError without ``oracle``."""
        if oracle is None:
            raise ValueError("oracle: the ideal ratio mask needs the true sources; this data set has none")
        magnitudes = self.filterbank.encode(oracle).abs()
        masks = magnitudes / (magnitudes.sum(1, keepdim=True) + 1e-8)
        spectrum = self.filterbank.encode(mixture).unsqueeze(1)
        return Separation(self.filterbank.decode(masks * spectrum, mixture.shape[-1]))
