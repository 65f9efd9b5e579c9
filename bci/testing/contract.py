"""What all contract checkers share."""

from __future__ import annotations


class ContractError(AssertionError):
    """A plugin breaks the contract of its port."""


def require(holds: bool, rule: str, came: object = None) -> None:
    """Raise `ContractError` naming `rule` and what came, unless it `holds`."""
    if not holds:
        raise ContractError(f"the contract says: {rule}; got {came!r}")
