"""SI-SNR improvement: how much closer to its source an estimate is than the mixture was."""

from sb_ext.losses import NegSISDR


def si_snr_gain(ordered, mixture, sources):
    """Mean SI-SNR improvement of a mixture's sources; NaN where one of them is silent (constant).

    Beside a silent source the mixture is the other one already: nothing can be improved, and whatever a separator does
    costs some 80 dB, so that one such mixture would outweigh a hundred others.

    Arguments
    ---------
    ordered : torch.Tensor
        ``[..., C, T]``, estimates in the order of the sources.
    mixture : torch.Tensor
        ``[..., T]``.
    sources : torch.Tensor
        ``[..., C, T]``.

    Returns
    -------
    torch.Tensor
        ``[...]``, dB.

    Example
    -------
    >>> import torch
    >>> sources = torch.randn(3, 2, 800)
    >>> sources[1, 1] = 0
    >>> si_snr_gain(sources, sources.sum(1), sources).isnan().tolist()
    [False, True, False]
    """
    loss = NegSISDR()
    gain = (loss(mixture.unsqueeze(-2).expand_as(sources), sources) - loss(ordered, sources)).mean(-1)
    return gain.masked_fill((sources == sources[..., :1]).all(-1).any(-1), float("nan"))
