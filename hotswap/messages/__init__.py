"""Every message that crosses Temporal: inputs and results of workflows and activities, and what people say to them.

What a person writes (strategy configuration, approve, abort, ...) is strict: an unknown key or a wrong type is refused
with the field named. All of it is JSON with camelCase names, so that it reads the same in the API, in the Temporal Web
UI and behind `temporal workflow signal --input`.
"""

from hotswap.messages.base import (
    DEPLOYMENT_MEMO,
    SEARCH_ATTRIBUTES,
    TASK_QUEUE,
    Duration,
    Message,
    watch_queue,
)
from hotswap.messages.runs import (
    DeploymentInput,
    DeploymentOutcome,
    RegistrationInput,
    RetirementInput,
)
from hotswap.messages.strategy import CanaryConfig, PauseConfig, RollbackThresholds, StepConfig
from hotswap.messages.verbs import (
    API,
    Abort,
    Answer,
    Approve,
    GoToStep,
    Name,
    Pause,
    Promote,
    Reject,
    Request,
    Resume,
    Retry,
    Text,
)
from hotswap.messages.work import (
    AddVersion,
    ApprovalGiven,
    Decision,
    Leftovers,
    SetWeight,
    Transition,
    ValidateVersion,
    VerifiedWeight,
    Watch,
    WithdrawCandidate,
)

__all__ = [
    "API",
    "DEPLOYMENT_MEMO",
    "SEARCH_ATTRIBUTES",
    "TASK_QUEUE",
    "Abort",
    "AddVersion",
    "Answer",
    "ApprovalGiven",
    "Approve",
    "CanaryConfig",
    "Decision",
    "DeploymentInput",
    "DeploymentOutcome",
    "Duration",
    "GoToStep",
    "Leftovers",
    "Message",
    "Name",
    "Pause",
    "PauseConfig",
    "Promote",
    "RegistrationInput",
    "Reject",
    "Request",
    "Resume",
    "RetirementInput",
    "Retry",
    "RollbackThresholds",
    "SetWeight",
    "StepConfig",
    "Text",
    "Transition",
    "ValidateVersion",
    "VerifiedWeight",
    "Watch",
    "WithdrawCandidate",
    "watch_queue",
]
