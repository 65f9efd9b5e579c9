"""Evidence for items that flash: what each flash says is added up until one item is sure enough."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from bci.decoding.base import softmax
from bci.errors import ConfigError, DataError

Item = TypeVar("Item", bound=Hashable)
_LEAST = np.finfo(np.float64).tiny


class Evidence(Generic[Item]):
    """The probability of every item, from the log-likelihood ratios of flashes, and when to stop.

    Parameters
    ----------
    items : sequence of hashable
        What can be chosen, each once: letters, or numbers of symbols.
    flashes_per_repetition : int
        Flashes in which every item has had its turn: 12 for rows and columns of 6 x 6, 36 for single letters.
    prior : mapping of item to float, optional
        Probability of each item beforehand, such as from a language model; it is normalised, items that it
        does not name have none. All items are equally probable if not given.
    error_rate : float, default=0.05
        Share of wrong items that is accepted, between 0 and 1: the best item is sure at a probability of 1 minus this.
    least, most : int, default=1 and 15
        Repetitions before which nothing is decided, and after which the best item is taken, sure or not.

    Raises
    ------
    ConfigError
        If a setting is out of range.
    DataError
        From `add`, if a flash names an item that is not known, or its ratio is not a finite number.

    Notes
    -----
    A flash of the items S whose window x has the log-likelihood ratio ``log p(x | target) - log p(x | not)`` adds it
    to every item in S: Bayes' rule for flashes that are independent given the item, up to what is the same for all
    items [1]_. Stopping at a probability of the best item is that of [1]_ and [2]_; [3]_ compares it with other rules.

    If the ratios are right, the items taken as sure are wrong in `error_rate` of the cases at most, because the
    mean of 1 - probability at the stop is their share of errors. Those taken at `most` without being sure are not
    covered: see `is_sure`. Windows that overlap are not independent, and make it surer than it should be.

    References
    ----------
    .. [1] C. S. Throckmorton et al. Bayesian approach to dynamically controlling data collection in P300 spellers.
       IEEE Trans Neural Syst Rehabil Eng 21:508-517, 2013. doi:10.1109/TNSRE.2013.2253125
    .. [2] B. O. Mainsah et al. Increasing BCI communication rates with dynamic stopping towards more practical use:
       an ALS study. J Neural Eng 12:016013, 2015. doi:10.1088/1741-2560/12/1/016013
    .. [3] M. Schreuder et al. Optimizing event-related potential based brain-computer interfaces: a systematic
       evaluation of dynamic stopping methods. J Neural Eng 10:036025, 2013. doi:10.1088/1741-2560/10/3/036025

    Examples
    --------
    >>> evidence = Evidence("ABCD", flashes_per_repetition=4, error_rate=0.1)
    >>> for item in "ABCD":
    ...     evidence.add(4.0 if item == "C" else -1.0, item)
    >>> evidence.best, evidence.is_sure
    ('C', True)
    """

    def __init__(
        self,
        items: Sequence[Item],
        flashes_per_repetition: int,
        prior: Mapping[Item, float] | None = None,
        error_rate: float = 0.05,
        least: int = 1,
        most: int = 15,
    ) -> None:
        self.items = tuple(items)
        self._place = {item: k for k, item in enumerate(self.items)}
        if len(self._place) != len(self.items) or len(self.items) < 2:
            raise ConfigError(f"expected two items or more, each once, got {list(items)}; name each of them once")
        if not 0 < error_rate < 1:
            raise ConfigError(f"error_rate must lie between 0 and 1, got {error_rate}; 0.05 accepts one wrong in 20")
        if not (1 <= least <= most and flashes_per_repetition >= 1):
            raise ConfigError(
                "expected 1 <= least <= most and flashes_per_repetition >= 1, got "
                f"{least}, {most} and {flashes_per_repetition}; give whole numbers of repetitions and flashes"
            )
        self.flashes_per_repetition, self.error_rate = flashes_per_repetition, error_rate
        self.least, self.most = least, most
        self._prior = self._log_prior(prior)
        self.reset()

    def reset(self, prior: Mapping[Item, float] | None = None) -> None:
        """Forget all flashes; a `prior` replaces the one before, such as the next letter's."""
        if prior is not None:
            self._prior = self._log_prior(prior)
        self._sum = self._prior.copy()
        self._n_flashes = 0

    def add(self, ratio: float, items: Collection[Item]) -> None:
        """Add one flash.

        Parameters
        ----------
        ratio : float
            Log-likelihood ratio of its window, target against not; 0 if it tells nothing (an artefact).
        items : collection of items
            What flashed: one item, or a row or column of them.
        """
        flashed = set(items)
        unknown = sorted(map(repr, flashed - self._place.keys()))
        if unknown or not np.isfinite(ratio):
            raise DataError(
                f"expected a finite ratio and items known beforehand, got {ratio} and unknown {', '.join(unknown)}; "
                "add a flash that was not seen with 0, and name every item at the beginning"
            )
        self._sum[[self._place[item] for item in flashed]] += ratio
        self._n_flashes += 1

    @property
    def posterior(self) -> NDArray[np.float64]:
        """The probability of each item, shape (n_items,)."""
        return softmax(self._sum[None])[0]

    @property
    def best(self) -> Item:
        """The most probable item; the first of those that are equal."""
        return self.items[int(self._sum.argmax())]

    @property
    def repetitions(self) -> float:
        """How many repetitions were added, with fractions."""
        return self._n_flashes / self.flashes_per_repetition

    @property
    def is_sure(self) -> bool:
        """True if the best item is more probable than 1 - `error_rate`, after `least` repetitions or more."""
        return self.repetitions >= self.least and bool(self.posterior.max() > 1 - self.error_rate)

    @property
    def is_done(self) -> bool:
        """True if it is sure, or `most` repetitions have passed: take `best`, or ask again if not `is_sure`."""
        return self.is_sure or self.repetitions >= self.most

    def _log_prior(self, prior: Mapping[Item, float] | None) -> NDArray[np.float64]:
        if prior is None:
            return np.full(len(self.items), -np.log(len(self.items)))
        weights = np.array([float(prior.get(item, 0.0)) for item in self.items])
        if prior.keys() - self._place.keys() or not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ConfigError(f"expected a probability of 0 or more for items among {list(self.items)}, got {prior}; "
                              "leave out or correct the others")  # fmt: skip
        if not weights.any():
            raise ConfigError(
                "expected a prior with a probable item, got 0 for all; leave prior out if nothing is known"
            )
        with np.errstate(divide="ignore"):  # an item that cannot be has the logarithm -inf, and keeps it
            return np.log(weights / weights.sum())


def log_likelihood_ratios(probabilities: ArrayLike, prior: float = 0.5) -> NDArray[np.float64]:
    """Return the log-likelihood ratio of each window, shape (n_epochs,), for `Evidence`.

    Parameters
    ----------
    probabilities : array-like, shape (n_epochs,)
        Probability that the flash was a target, such as a column of `predict_proba`.
    prior : float, default=0.5
        Probability of a target that went into them: 0.5 for `bci.decoding.erp`, the share of targets in training for
        a classifier that learned it.
    """
    p = np.asarray(probabilities, np.float64)
    if not 0 < prior < 1:
        raise ConfigError(f"prior must lie between 0 and 1, got {prior}; give the share of targets in training")
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise DataError(f"expected probabilities from 0 to 1, one per window, got shape {p.shape}; pick a column")
    odds = np.log(np.maximum(p, _LEAST)) - np.log(np.maximum(1 - p, _LEAST))
    ratios: NDArray[np.float64] = odds - np.log(prior / (1 - prior))
    return ratios
