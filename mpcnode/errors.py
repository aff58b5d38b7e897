"""Errors of one computing party.

MpcError
+-- ProtocolAbort       a peer deviated, was silent, or disagrees: this party sends nothing more
+-- StepReused          a name of randomness was used twice (a bug here, never a peer's doing)
+-- UndeclaredReveal    the program asked to reveal what its plan does not declare
+-- StoreError          the share store refuses or fails
"""


class MpcError(Exception):
    """An error of the computing party."""

    code = "mpc_error"


class ProtocolAbort(MpcError):
    """The session ended before a result: nothing more is sent and nothing is revealed.

    `reason` is one public word (timeout, mismatch, cancelled, disagreement, version, rollback); detail stays in the party's log.
    """

    code = "protocol_abort"

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class StepReused(MpcError):
    """A step's name serves once: its randomness would repeat."""

    code = "step_reused"


class UndeclaredReveal(MpcError):
    """A reveal that the plan does not declare."""

    code = "undeclared_reveal"


class StoreError(MpcError):
    """The share store cannot do what was asked."""

    code = "store_error"
