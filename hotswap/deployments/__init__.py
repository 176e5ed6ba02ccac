"""Start and rollback of deployments, for all who ask: people through the API, the monitor, workflows."""
