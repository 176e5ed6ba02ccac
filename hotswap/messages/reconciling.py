"""The results of the reconciler's searches."""

from hotswap.domain.application import ApplicationSpec
from hotswap.domain.registry import Unfinished
from hotswap.domain.traffic import Withdrawal
from hotswap.messages.runs import QueueInput
from hotswap.schemas.base import Message


class Leftovers(Message):
    """Deployments and applications that may have lost their workflow.

    Deployments that have not ended may be in work, and applications that nothing routes to may be kept warm. Of the
    deployments that wait for their turn, these are the ones whose turn has come.
    """

    deployments: tuple[Unfinished, ...]
    orphans: tuple[ApplicationSpec, ...]
    queued: tuple[QueueInput, ...] = ()


class FoundWithdrawals(Message):
    """Candidates that people took out at proxies themselves, past their deployments."""

    withdrawals: tuple[Withdrawal, ...] = ()
