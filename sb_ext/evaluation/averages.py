"""Running means by name."""


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

    def add(self, name, value):
        """Count one value under a name."""
        self.sums[name] = self.sums.get(name, 0.0) + value
        self.counts[name] = self.counts.get(name, 0) + 1

    def count(self, name):
        """How many values came under a name."""
        return self.counts.get(name, 0)

    def means(self):
        """Name to mean."""
        return {name: total / self.counts[name] for name, total in self.sums.items()}
