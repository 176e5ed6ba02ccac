"""The statuses of a deployment, and the ways between them."""

from hotswap.domain.lifecycle import TRANSITIONS, DeploymentStatus


def test_every_status_can_end_and_no_end_goes_on() -> None:
    for status in DeploymentStatus:
        reached, todo = {status}, [status]
        while todo:
            following = TRANSITIONS[todo.pop()] - reached
            reached |= following
            todo += following
        assert any(each.is_terminal for each in reached), status
    assert {status for status in DeploymentStatus if status.is_terminal} == {
        DeploymentStatus.ACTIVE,
        DeploymentStatus.ROLLED_BACK,
        DeploymentStatus.CANCELLED,
        DeploymentStatus.FAILED,
    }
