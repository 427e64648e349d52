"""The contract of drivers, as checks: what is still missing before a driver may carry a node.

With one command, for a driver that is installed::

    python -m qnoded.testing.contract acme-laser --settings laser.toml

Or from the tests of the driver's own package, against its emulator, which can then also pull the cable::

    @pytest.mark.parametrize("check", contract.checks(AcmeLaser), ids=contract.name)
    def test_contract(check: contract.Check) -> None:
        contract.verify(check, AcmeLaser, bench)

``bench`` is an async context manager that starts whatever the driver needs and gives a ``Bench``. Each check is a plain
coroutine whose docstring is the rule that it checks, addressed to the driver; ``subject`` has what it works with,
``shared`` the rules of all instruments, ``loss`` those about cables, and every kind of instrument has its own file.
Checks move, switch and emit at the lowest power: against real instruments, mind what stands behind them.
"""

from qnoded.testing.contract.kind import Check
from qnoded.testing.contract.subject import Bench, Broken, NotApplicable, Subject
from qnoded.testing.contract.verifying import checks, name, standing, verify

__all__ = ["Bench", "Broken", "Check", "NotApplicable", "Subject", "checks", "name", "standing", "verify"]
