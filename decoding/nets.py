"""Convolutional networks for windows of EEG, in PyTorch."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from bci.decoding.base import Array, State, WindowDecoder
from bci.errors import ConfigError, DataError
from bci.runtime.score import grouped_folds

_log = logging.getLogger(__name__)
Codes = NDArray[np.int64]


class EEGNet(WindowDecoder):
    """A compact convolutional network: frequency filters, spatial filters, and their time course.

    Parameters
    ----------
    sfreq : float, optional
        Rate of the windows in Hz; set by the session if not given.
    n_filters : int, default=8
        Temporal filters (F1 in the paper).
    depth : int, default=2
        Spatial filters for each temporal filter (D).
    dropout : float, default=0.5
        Share of activations left out while training.
    max_epochs : int, default=300
        Longest training, passes over the data.
    patience : int, default=40
        Stop after so many passes without a better validation loss, and go back to the best.
    validation : float, default=0.2
        Share of the trials held out to decide when to stop; 0 trains for `max_epochs`.
    batch_size : int, default=16
        Windows per step.
    learning_rate : float, default=1e-3
        Step size of Adam.
    seed : int, default=0
        Seed of weights, order, dropout and held-out trials.
    device : str, default="auto"
        "cpu", "cuda", or "auto" for the GPU where there is one.
    verbose : bool, default=False
        Show a progress bar where there is a terminal.

    Raises
    ------
    ConfigError
        From `fit`, if a setting is out of range or the device is not there.
    DataError
        From `fit`, if windows are too short for the pooling (about 1 s is needed).

    Notes
    -----
    Weights are in single precision. Kernels and pooling of the paper are for
    128 Hz; here they scale with `sfreq`, so they last as long. Channels are
    divided by their standard deviation in the training data. The same seed on
    the same machine with the same number of threads gives the same weights.

    References
    ----------
    .. [1] V. Lawhern et al. EEGNet: a compact convolutional neural network for EEG-based brain-computer
       interfaces. J Neural Eng 15:056013, 2018. doi:10.1088/1741-2552/aace8c
    """

    def __init__(
        self,
        sfreq: float | None = None,
        n_filters: int = 8,
        depth: int = 2,
        dropout: float = 0.5,
        max_epochs: int = 300,
        patience: int = 40,
        validation: float = 0.2,
        batch_size: int = 16,
        learning_rate: float = 1e-3,
        seed: int = 0,
        device: str = "auto",
        verbose: bool = False,
    ) -> None:
        self.sfreq, self.n_filters, self.depth, self.dropout = sfreq, n_filters, depth, dropout
        self.max_epochs, self.patience, self.validation = max_epochs, patience, validation
        self.batch_size, self.learning_rate, self.seed = batch_size, learning_rate, seed
        self.device, self.verbose = device, verbose

    def _fit(self, X: Array, y: Codes, groups: NDArray[np.int64]) -> None:
        self._check()
        train, test = self._split(y, groups)
        deviation = X[train].std(axis=(0, 2))
        self._scale = np.where(deviation > 0, 1 / np.where(deviation > 0, deviation, 1.0), 0.0)
        device = self._device()
        with _seeded(self.seed, device):
            self._net = self._build().to(device)
            self._train(self._tensor(X, device), torch.as_tensor(y, device=device), train, test)

    def _predict(self, X: Array) -> Array:
        with torch.inference_mode():
            logits = self._net(self._tensor(X, next(self._net.parameters()).device))
            return torch.softmax(logits.double(), dim=1).cpu().numpy()

    def _state(self) -> State:
        weights = {f"net.{k}": v.detach().cpu().numpy() for k, v in self._net.state_dict().items()}
        return {"scale": self._scale, **weights}

    def _restore(self, state: State) -> None:
        self._scale = state["scale"]
        self._net = self._build()
        weights = {k.removeprefix("net."): torch.from_numpy(v) for k, v in state.items() if k.startswith("net.")}
        try:
            self._net.load_state_dict(weights)
        except RuntimeError as error:
            raise DataError(f"expected the weights of this network, got others ({error}); train again") from error
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            _log.warning("the model was trained on %s, there is no GPU here: it decides on the processor", self.device)
            self.device = "auto"  # where it runs is a property of the machine, not of the model
        self._net.to(self._device()).eval()

    def _check(self) -> None:
        if self.sfreq is None:
            raise ConfigError("EEGNet needs the rate of the windows; give sfreq (Hz)")
        counts = (self.n_filters, self.depth, self.max_epochs, self.patience, self.batch_size)
        if min(counts) < 1 or not (0 <= self.dropout < 1 and 0 <= self.validation < 1 and self.learning_rate > 0):
            raise ConfigError(
                "EEGNet needs counts of 1 or more, 0 <= dropout < 1, 0 <= validation < 1 and learning_rate > 0, got "
                f"{counts}, {self.dropout}, {self.validation} and {self.learning_rate}; leave the defaults if unsure"
            )

    def _device(self) -> torch.device:
        there = torch.cuda.is_available()
        if self.device == "auto":
            return torch.device("cuda" if there else "cpu")
        if self.device != "cpu" and not (self.device.startswith("cuda") and there):
            raise ConfigError(
                f"expected the device 'auto', 'cpu'{' or cuda' if there else ' (no GPU is here)'}, got {self.device!r}"
            )
        return torch.device(self.device)

    def _split(self, y: Codes, groups: NDArray[np.int64]) -> tuple[Codes, Codes]:
        """Return (train, validation) indices; no trial is in both, every class is in each if it has two trials."""
        everything, nothing = np.arange(len(y)), np.arange(0)
        fewest = min(len(np.unique(groups[y == k])) for k in np.unique(y))
        if self.validation == 0 or fewest < 2:
            return everything, nothing
        n_splits = int(np.clip(round(1 / self.validation), 2, fewest))
        return next(iter(grouped_folds(y, groups, n_splits, self.seed)))

    def _build(self) -> _Net:
        assert self.sfreq is not None
        net = _Net(
            self.n_channels_, self.n_times_, len(self.classes_), self.sfreq, self.n_filters, self.depth, self.dropout
        )
        return net.eval()

    def _tensor(self, X: Array, device: torch.device) -> torch.Tensor:
        return torch.as_tensor((X * self._scale[:, None])[:, None], dtype=torch.float32, device=device)

    def _train(self, X: torch.Tensor, y: torch.Tensor, train: Codes, test: Codes) -> None:
        share = torch.bincount(y[torch.as_tensor(train, device=y.device)], minlength=len(self.classes_)).float()
        loss_of = nn.CrossEntropyLoss(weight=share.sum() / (len(share) * share.clamp(min=1)))
        optimiser = torch.optim.Adam(self._net.parameters(), self.learning_rate)
        best, best_loss, waited = copy.deepcopy(self._net.state_dict()), float("inf"), 0
        rng = np.random.default_rng(self.seed)
        for _ in tqdm(range(self.max_epochs), desc="EEGNet", unit="epoch", disable=not self.verbose or None):
            self._pass(X, y, rng.permutation(train), loss_of, optimiser)
            if not len(test):
                continue
            loss = self._loss(X[test], y[test], loss_of)
            waited = 0 if loss < best_loss else waited + 1
            if loss < best_loss:
                best, best_loss = copy.deepcopy(self._net.state_dict()), loss
            if waited >= self.patience:
                break
        if len(test):
            self._net.load_state_dict(best)
        self._net.eval()
        _log.info("EEGNet: trained on %d windows, %d held out, best loss %.3f", len(train), len(test), best_loss)

    def _pass(self, X: torch.Tensor, y: torch.Tensor, order: Codes, loss_of: nn.Module, optimiser: Any) -> None:
        self._net.train()
        n_batches = max(1, len(order) // self.batch_size)  # the rest is spread, since one window has no variance
        for batch in np.array_split(order, n_batches):
            optimiser.zero_grad()
            loss_of(self._net(X[batch]), y[batch]).backward()
            optimiser.step()
            self._net.limit_norms()

    def _loss(self, X: torch.Tensor, y: torch.Tensor, loss_of: nn.Module) -> float:
        self._net.eval()
        with torch.inference_mode():
            return float(loss_of(self._net(X), y))


class _Net(nn.Module):
    """The layers of table 2 of the paper; input of shape (n_epochs, 1, n_channels, n_times)."""

    def __init__(
        self, n_channels: int, n_times: int, n_classes: int, sfreq: float, n_filters: int, depth: int, dropout: float
    ) -> None:
        super().__init__()
        n_maps = n_filters * depth
        # 32 Hz after the first pooling and 4 Hz after the second, as at 128 Hz in the paper.
        pool, length = max(1, round(sfreq / 32)), max(1, round(sfreq / 2))
        n_out = n_times // pool // 8
        if n_out < 1:
            raise DataError(
                f"EEGNet needs windows of {8 * pool / sfreq:g} s or more, got {n_times / sfreq:g} s; use longer windows"
            )
        self.temporal = nn.Sequential(
            _same(length), nn.Conv2d(1, n_filters, (1, length), bias=False), nn.BatchNorm2d(n_filters)
        )
        self.spatial = nn.Conv2d(n_filters, n_maps, (n_channels, 1), groups=n_filters, bias=False)
        self.pool = nn.Sequential(nn.BatchNorm2d(n_maps), nn.ELU(), nn.AvgPool2d((1, pool)), nn.Dropout(dropout))
        self.separable = nn.Sequential(
            _same(16),
            nn.Conv2d(n_maps, n_maps, (1, 16), groups=n_maps, bias=False),
            nn.Conv2d(n_maps, n_maps, 1, bias=False),
            nn.BatchNorm2d(n_maps),
            nn.ELU(),
            nn.AvgPool2d((1, 8)),
            nn.Dropout(dropout),
        )
        self.answer = nn.Linear(n_maps * n_out, n_classes)

    def forward(self, X: torch.Tensor) -> torch.Tensor:
        """Return logits, shape (n_epochs, n_classes)."""
        maps = self.separable(self.pool(self.spatial(self.temporal(X))))
        logits: torch.Tensor = self.answer(maps.flatten(1))
        return logits

    def limit_norms(self) -> None:
        """Keep the norm of spatial filters below 1 and that of answers below 0.25, as in the paper."""
        with torch.no_grad():
            for weight, limit in ((self.spatial.weight, 1.0), (self.answer.weight, 0.25)):
                weight.copy_(torch.renorm(weight, 2, 0, limit))


def _same(length: int) -> nn.Module:
    """Return the padding after which a kernel of `length` gives as many samples as came in."""
    return nn.ZeroPad2d(((length - 1) // 2, length // 2, 0, 0))


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch, choose repeatable kernels, and leave everything as it was afterwards."""
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus), torch.backends.cudnn.flags(deterministic=True, benchmark=False):
        torch.manual_seed(seed)
        yield
