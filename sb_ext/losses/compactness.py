"""Embeddings near the attractor of the source that dominates them."""


def compactness_loss(similarities, masks, weights):
    """``-sum_j w_j m_kj v_j a_k`` with k the source that dominates bin j (SANet, eq. 8).

    Arguments
    ---------
    similarities : torch.Tensor
        ``[B, C, N]``, cosines of the embeddings with the attractors.
    masks : torch.Tensor
        ``[B, C, N]``, ideal masks.
    weights : torch.Tensor
        ``[B, N]``, sum to one.

    Returns
    -------
    torch.Tensor
        ``[B]``, of at least -1.

    Example
    -------
    >>> import torch
    >>> compactness_loss(torch.tensor([[[0.5], [0.9]]]), torch.tensor([[[0.75], [0.25]]]), torch.ones(1, 1)).tolist()
    [-0.375]
    """
    share, dominant = masks.max(1)
    return -(weights * share * similarities.gather(1, dominant.unsqueeze(1)).squeeze(1)).sum(-1)
