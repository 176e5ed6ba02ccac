"""Messages about a plan and about a shortage: the sum that shows it, term by term, and what can be done. Pure."""

from collections.abc import Callable, Iterable

from hotswap.domain.capacity import Mode
from hotswap.domain.demand import Demand, Holding
from hotswap.domain.errors import ValidationFailed
from hotswap.domain.resources import NOTHING, Amount, Cluster, Node, counted, in_words


def check_ever_fits(demand: Demand) -> None:
    """Raise ValidationFailed if the candidate alone needs more than the whole cluster, or than its team may have."""
    candidate, quota = demand.candidate, demand.quota
    total = candidate.size * candidate.full
    if quota is not None and total.gpus > quota.gpus:
        has = f"team {quota.team} may have {in_words(Amount(gpus=quota.gpus))}"
        raise _never_fits(candidate, has, only=_gpus)
    if demand.cluster is None:
        return
    alone = Cluster(tuple(Node(node.total) for node in demand.cluster.nodes))
    if not alone.has_room_for(counted([(candidate.size, candidate.full)])):
        only = _lacking(total, alone.total)
        apart = ", but not where one replica needs them" if only(total).is_within(only(alone.total)) else ""
        raise _never_fits(candidate, f"the whole cluster has {in_words(only(alone.total))}{apart}", only=only)


def _never_fits(candidate: Holding, has: str, *, only: Callable[[Amount], Amount]) -> ValidationFailed:
    asked = f"{candidate.full} x {in_words(only(candidate.size))}"
    return ValidationFailed.of("resources", f"{asked} can never fit: {has}")


def refusal(demand: Demand) -> str:
    """Return the message of a refusal: the sum that shows why it doesn't fit, and what can be done."""
    said = [f"{demand.candidate.model} doesn't fit: {_sum(demand, candidates=demand.candidate.full)}"]
    if demand.stable is not None:
        first = demand.steps[0].candidate_replicas or 1
        said.append(f"stepwise would still need {_sum(demand, candidates=min(first, demand.candidate.full))}")
        if not demand.allow_recreate:
            said.append(
                "strategyConfig.allowRecreate needs no room beside the stable, and turns requests away while replicas "
                "are exchanged"
            )
        elif demand.has_approvals_on_the_way:
            said.append("recreating goes to 100% at once, and would pass over the approval that a step waits for")
    said.append("free some, or take fewer or smaller replicas")
    return "; ".join(said)


def _sum(demand: Demand, *, candidates: int) -> str:
    """Return the sum in the unit that lacks: `candidate 2 x 1 GPU + stable 2 x 1 GPU + ... = 5 GPUs of 4`."""
    arms = [("candidate " if demand.stable is not None else "", demand.candidate.size, candidates)]
    if demand.stable is not None:
        arms.append(("stable ", demand.stable.size, demand.stable.full))
    asked = sum((size * number for _, size, number in arms), NOTHING)
    quota, cluster = demand.quota, demand.cluster
    over_quota = quota is not None and asked.gpus and asked.gpus + quota.used_by(demand.others) > quota.gpus
    if quota is not None and (over_quota or cluster is None):
        others = [(each.application, each.amount) for each in demand.others if each.team == quota.team]
        most = f"{in_words(Amount(gpus=quota.gpus))}, which is what team {quota.team} may have"
        return _terms(arms, others, most, only=_gpus)
    assert cluster is not None  # without one only a quota refuses
    total = cluster.total
    others = [(each.application, each.amount) for each in demand.others]
    others.append(("what isn't HotSwap's", cluster.held_by_others))
    all_of_it = sum((amount for _, amount in others), asked)
    only = _lacking(all_of_it, total) if asked.gpus else _cpus
    most = f"{in_words(only(total))} that the cluster has"
    if only(all_of_it).is_within(only(total)):
        most += ", but not where one replica needs them together"
    return _terms(arms, others, most, only=only)


def _terms(
    arms: Iterable[tuple[str, Amount, int]],
    others: Iterable[tuple[str, Amount]],
    most: str,
    *,
    only: Callable[[Amount], Amount],
) -> str:
    arms, others = list(arms), [(name, only(amount)) for name, amount in others]
    said = [f"{name}{number} x {in_words(only(size))}" for name, size, number in arms]
    said += [f"{name} {in_words(amount)}" for name, amount in others if amount != NOTHING]
    total = sum((only(size) * number for _, size, number in arms), NOTHING)
    total = sum((amount for _, amount in others), total)
    return f"{' + '.join(said)} = {in_words(total)} of {most}"


def _lacking(asked: Amount, total: Amount) -> Callable[[Amount], Amount]:
    """Return the unit to report: GPUs, unless only CPUs are too few."""
    return _cpus if asked.gpus <= total.gpus and (asked.cpus > total.cpus or not asked.gpus) else _gpus


def _gpus(amount: Amount) -> Amount:
    return Amount(gpus=amount.gpus)


def _cpus(amount: Amount) -> Amount:
    return Amount(cpus=amount.cpus)


def in_short(mode: Mode, demand: Demand) -> str:
    arms = [arm for arm in (demand.candidate, demand.stable) if arm is not None]
    peak = in_words(sum((arm.size * arm.full for arm in arms), NOTHING))
    match mode:
        case Mode.SURGE:
            return f"surge: all replicas at one time, {peak}"
        case Mode.STEPWISE:
            return (
                f"stepwise: all replicas at one time would be {peak}, so the stable goes down as the candidate comes up"
            )
        case Mode.RECREATE:
            return "recreate: there is no room beside the stable, so requests are shed while replicas are exchanged"
