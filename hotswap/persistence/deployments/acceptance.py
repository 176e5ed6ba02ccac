"""The acceptance of deployments over PostgreSQL, as the API and the monitor's worker have it alike."""

from hotswap.deployments.capacity import Planner
from hotswap.deployments.checks import Checks
from hotswap.deployments.start import Acceptance
from hotswap.persistence.deployments.activation_history import PostgresActivationHistory
from hotswap.persistence.deployments.admission import PostgresAdmissions
from hotswap.persistence.deployments.reading import PostgresDeploymentReader
from hotswap.persistence.platform.database import Sessions
from hotswap.persistence.registry.reading import PostgresRegistryReader
from hotswap.persistence.traffic.plans import PostgresTrafficPlans
from hotswap.settings import DeploymentSettings


def acceptance(sessions: Sessions, settings: DeploymentSettings, planner: Planner) -> Acceptance:
    checks = Checks(
        settings,
        PostgresDeploymentReader(sessions),
        PostgresActivationHistory(sessions),
        PostgresTrafficPlans(sessions),
        planner,
    )
    return Acceptance(settings, checks, PostgresRegistryReader(sessions), PostgresAdmissions(sessions))
