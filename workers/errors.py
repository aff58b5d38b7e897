"""Errors of a party's worker; each has the one public code that may leave the party.

WorkerError
+-- Misconfigured        party.json, the environment or a key file is missing or wrong
+-- BackupRefused        a backup cannot be made, or is not put back: nothing was replaced
+-- PortalUnreachable    the portal did not answer, or answered with something else than asked
+-- BundleRejected       a dataset fails a check: the party complains and stores nothing
+-- Refused              an order fails a check: the party refuses and computes nothing
+-- LedgerError          the ledger cannot do what was asked
    +-- BudgetExhausted  the debit would exceed the cap of the signed manifest
    +-- ModeFixed        the dataset's chain answers in the other mode
    +-- Superseded       the dataset is not the newest version of its chain
    +-- AttemptRefused   this attempt was accepted before, or comes too early or too late
    +-- PeerRolledBack   a peer's ledger is shorter than, or differs from, what it showed before
    +-- LedgerDamaged    a line was changed, removed or moved
    +-- LedgerUnusable   its file cannot be opened, read or written
"""


class WorkerError(Exception):
    """An error of a party's worker."""

    code = "worker_error"


class Misconfigured(WorkerError):
    """The party cannot start as it is configured."""

    code = "misconfigured"


class BackupRefused(WorkerError):
    """A backup cannot be made or restored; nothing that was there was replaced."""

    code = "backup_refused"


class PortalUnreachable(WorkerError):
    """The portal did not answer. `final`: it answered, and asking again would change nothing."""

    code = "portal_unreachable"

    def __init__(self, message: str, *, final: bool = False) -> None:
        super().__init__(message)
        self.final = final


class BundleRejected(WorkerError):
    """A dataset's manifest, codebook or bundle fails a check; `code` says which."""

    code = "bundle_rejected"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class Refused(WorkerError):
    """An order fails one of this party's own checks; `code` says which."""

    code = "refused"

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class LedgerError(WorkerError):
    """The ledger cannot do what was asked."""

    code = "ledger_error"


class BudgetExhausted(LedgerError):
    """The dataset's privacy budget at this party cannot cover the debit."""

    code = "budget_exhausted"

    def __init__(self, *, asked: int, left: int) -> None:
        super().__init__(f"asked for {asked} micro-epsilon, {left} left")
        self.asked, self.left = asked, left


class ModeFixed(LedgerError):
    """A chain is dp or exact, never both: the first order that ran fixed it."""

    code = "chain_mode"

    def __init__(self, *, fixed: str) -> None:
        super().__init__(f"the dataset's chain answers in {fixed} mode only")
        self.fixed = fixed


class Superseded(LedgerError):
    """A chain answers on its newest version alone."""

    code = "superseded"

    def __init__(self, *, dataset: str, newest: str, version: int) -> None:
        super().__init__(
            f"dataset {dataset} is not the newest version of its chain here: {newest}, version {version}, is"
        )
        self.newest, self.version = newest, version


class AttemptRefused(LedgerError):
    """An attempt is accepted once, in order, after the previous one is closed."""

    code = "attempt_seen"


class PeerRolledBack(LedgerError):
    """A peer's ledger went back behind what it showed before."""

    code = "peer_rolled_back"

    def __init__(self, *, party: int) -> None:
        super().__init__(f"party {party} shows a ledger that does not continue what it showed before")
        self.party = party


class LedgerUnusable(LedgerError):
    """The ledger's file does not serve: the disk is full, read-only or broken, or the file is none."""


class LedgerDamaged(LedgerError):
    """A line of the ledger was changed, removed or moved."""

    code = "ledger_damaged"

    def __init__(self, *, line: int) -> None:
        super().__init__(f"line {line} of the ledger does not follow from the lines before it")
        self.line = line
