"""The contracts of the five ports, as checkers anyone can run.

`check_device`, `check_block`, `check_decoder`, `check_paradigm` and `check_effector` raise `ContractError`,
which says what was promised and what came, and need no test framework.

Examples
--------
>>> from bci.testing import check_device
>>> from bci.acquisition.participant import Participant
>>> check_device(Participant)
"""

from bci.testing.block import check_block
from bci.testing.contract import ContractError
from bci.testing.decoder import check_decoder
from bci.testing.device import check_device
from bci.testing.effector import check_effector
from bci.testing.paradigm import check_paradigm

__all__ = ["ContractError", "check_block", "check_decoder", "check_device", "check_effector", "check_paradigm"]
