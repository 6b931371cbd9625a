"""The deep clustering loss, without the matrix of all pairs of bins."""


def deep_clustering_loss(embeddings, memberships, weights=None):
    """``|V V^T - Y Y^T|_F^2`` over weighted bins, divided by the square of their weight (Hershey et al. 2016, eq. 1).

    Expanded to ``|V^T V|^2 - 2 |V^T Y|^2 + |Y^T Y|^2``: matrices of D x D, D x C and C x C in place of N x N.

    Arguments
    ---------
    embeddings : torch.Tensor
        ``[B, N, D]``, of unit length in the paper.
    memberships : torch.Tensor
        ``[B, N, C]``, one for the source that dominates the bin, else zero.
    weights : torch.Tensor, optional
        ``[B, N]``, not negative: zero for silent bins, say.

    Returns
    -------
    torch.Tensor
        ``[B]``.

    Example
    -------
    >>> import torch
    >>> memberships = torch.eye(2)[torch.tensor([[0, 1, 1]])]
    >>> deep_clustering_loss(memberships, memberships).tolist()
    [0.0]
    """
    if weights is None:
        weights = embeddings.new_ones(embeddings.shape[:2])
    root = weights.sqrt().unsqueeze(-1)
    embeddings, memberships = root * embeddings, root * memberships.to(embeddings.dtype)

    def norm(left, right):
        return (left.mT @ right).square().sum((1, 2))

    together = norm(embeddings, embeddings) - 2 * norm(embeddings, memberships) + norm(memberships, memberships)
    return together / weights.sum(1).square().clamp_min(1e-12)
