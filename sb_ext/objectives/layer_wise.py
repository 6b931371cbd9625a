"""Which of a separator's estimates are trained: the last layer's, or every layer's."""

from torch import nn


class LastLayer(nn.Module):
    """The final estimate alone."""

    needs_layers = False

    def estimates(self, separator, mixture):
        """``mixture [B, T]`` to a tuple of estimates ``[B, E, T]``, the final one last."""
        return (separator(mixture).sources,)

    def chosen(self, layers):
        """Those of all layers' estimates that count."""
        return layers[-1:]

    def combine(self, losses):
        """The layers' losses, each ``[B]``, as one ``[B]``."""
        return losses[-1]


class LayerWise(nn.Module):
    """Layer-wise optimisation (LO; Gao et al. 2023, eq. 2): ``1 / N sum_i w_i PIT_i`` with ``w_i = i / N``.

    Needs a separator of more than one block whose blocks share mask head and decoder: DPTNet's blocks, Conv-TasNet's
    stacks.

    Example
    -------
    >>> import torch
    >>> LayerWise().combine([torch.tensor([2.0]), torch.tensor([4.0])]).item()
    2.5
    """

    needs_layers = True

    def estimates(self, separator, mixture):
        """As LastLayer's, one a block; ValueError where the separator has fewer than two."""
        layers = separator(mixture, layers=True).layers
        if len(layers) < 2:
            raise ValueError(
                f"LayerWise: the separator gives {len(layers)} layer estimates, at least two are needed; "
                "take a deeper network or remove `layers` from the objective"
            )
        return layers

    def chosen(self, layers):
        """All of them."""
        return layers

    def combine(self, losses):
        """As LastLayer's."""
        depth = len(losses)
        return sum(place / depth * loss for place, loss in enumerate(losses, start=1)) / depth
