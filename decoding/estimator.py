"""What scikit-learn asks of a classifier, without importing it: a session that only decides starts a second earlier."""

from __future__ import annotations

import inspect
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from bci.errors import ConfigError
from bci.stream import unknown


class Estimator:
    """A classifier that `clone`, `Pipeline`, `GridSearchCV` and `cross_val_score` of scikit-learn take.

    Its settings are the parameters of `__init__`, kept under their names.
    """

    _estimator_type = "classifier"

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the settings by name; `deep` with those of settings that are estimators, as in ``"inner__C"``."""
        params: dict[str, Any] = {}
        for name in self._names():
            value = getattr(self, name)
            params[name] = value
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                params |= {f"{name}__{inner}": v for inner, v in value.get_params().items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Change settings; `ConfigError` names one that there is not."""
        for name, value in params.items():
            first, _, rest = name.partition("__")
            if first not in self._names():
                raise ConfigError(unknown(f"setting of {type(self).__name__}", first, self._names()))
            if rest:
                getattr(self, first).set_params(**{rest: value})
            else:
                setattr(self, first, value)
        return self

    def score(self, X: NDArray[np.float64], y: NDArray[Any], sample_weight: NDArray[np.float64] | None = None) -> float:
        """Return the share of windows whose class is predicted, 0 to 1; weighted if weights are given."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    def predict(self, X: NDArray[np.float64]) -> NDArray[Any]:
        """Return the class of each window."""
        raise TypeError(f"{type(self).__name__} must define predict")

    def __sklearn_tags__(self) -> Any:
        """Return the tags of a classifier, in the form of the version of scikit-learn that asks."""
        from sklearn.base import BaseEstimator, ClassifierMixin

        return type("Tagged", (ClassifierMixin, BaseEstimator), {})().__sklearn_tags__()

    def __repr__(self) -> str:
        """Return the call that makes it, with the settings that are not the defaults."""
        defaults = inspect.signature(type(self).__init__).parameters
        said = [f"{n}={v!r}" for n, v in self.get_params(deep=False).items() if repr(v) != repr(defaults[n].default)]
        return f"{type(self).__name__}({', '.join(said)})"

    @classmethod
    def _names(cls) -> list[str]:
        if cls.__init__ is object.__init__:
            return []
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return sorted(p.name for p in parameters if p.kind is not p.VAR_KEYWORD)
