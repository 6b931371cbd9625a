"""Running means by name."""

import torch
from speechbrain.utils.distributed import is_distributed_initialized


class Averages:
    """Means of whatever is added under a name.

    Example
    -------
    >>> averages = Averages()
    >>> averages.add("loss", 1.0)
    >>> averages.add("loss", 2.0)
    >>> averages.means(), averages.count("loss")
    ({'loss': 1.5}, 2)
    """

    def __init__(self):
        self.sums, self.counts = {}, {}

    def add(self, name, value, count=1):
        """Count a value under a name, ``count`` times."""
        self.sums[name] = self.sums.get(name, 0.0) + value * count
        self.counts[name] = self.counts.get(name, 0) + count

    def count(self, name):
        """How many values came under a name."""
        return self.counts.get(name, 0)

    def means(self):
        """Name to mean."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}

    def over_ranks(self):
        """The same with the values of all DDP ranks."""
        if not is_distributed_initialized():
            return self
        parts, merged = [None] * torch.distributed.get_world_size(), Averages()
        torch.distributed.all_gather_object(parts, self)
        for part in parts:
            for name, count in part.counts.items():
                if count:
                    merged.add(name, part.sums[name] / count, count)
        return merged
