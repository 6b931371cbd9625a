"""Figures over seeds: mean and standard error."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Estimate:
    """A mean over ``count`` seeds with its standard error, which is None for one seed.

    Example
    -------
    >>> str(Estimate.of([4.0, 5.0])), str(Estimate.of([4.0]))
    ('4.50 ± 0.50 (2 seeds)', '4.00 (1 seed)')
    """

    mean: float
    error: float | None
    count: int

    @classmethod
    def of(cls, values):
        """Of one value a seed, at least one."""
        values = [float(value) for value in values]
        count, mean = len(values), math.fsum(values) / len(values)
        if count == 1:
            return cls(mean, None, 1)
        variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
        return cls(mean, math.sqrt(variance / count), count)

    def __str__(self):
        return f"{self.plain} ({self.count} seed{'s' if self.count > 1 else ''})"

    @property
    def plain(self):
        """``4.50 ± 0.50``, without the number of seeds."""
        return f"{self.mean:.2f}" + (f" ± {self.error:.2f}" if self.error is not None else "")


def combined(*errors):
    """The standard error of a sum or difference of independent estimates; None where one of them has none.

    Example
    -------
    >>> combined(3.0, 4.0), combined(3.0, None)
    (5.0, None)
    """
    return None if None in errors else math.hypot(*errors)


def by_name(rows, records):
    """Row name to {seed: figures}, of the records that were made with the rows' own configuration."""
    found = {}
    for row in rows:
        record = records.get(row.id)
        if record is not None and record.get("fingerprint") == row.fingerprint:
            found.setdefault(row.name, {})[row.seed] = record["figures"]
    return found
