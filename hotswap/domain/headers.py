"""The headers by which clients, the API, Envoy and replicas speak of requests, versions and arms; all are named here.

Envoy alone says `ARM`, `CHOSEN_BY`, `FALLBACK`, `CAUSE`, `APPLICATION` and `CLIENT_ADDRESS`, and only who asks replicas
again, past Envoy, says `BACKTEST`: what a client sends under these names is overwritten or removed.
"""

VERSION_HEADER = "x-hotswap-version"
"""Of a request: the version that is to answer. Of an answer: the one that did."""

ENVIRONMENT_HEADER = "x-hotswap-environment"
ENTITY_HEADER = "x-entity-id"

ARM_HEADER = "x-hotswap-arm"
"""Who answers: the stable or the candidate."""

TESTER_HEADER = "x-hotswap-tester"
"""Of a request: `true` asks for the candidate, whatever its weight."""

CHOSEN_BY_HEADER = "x-hotswap-chosen-by"
"""How the arm was chosen: by weight, by version, or as a tester."""

FALLBACK_HEADER = "x-hotswap-fallback"
"""The candidate's version that failed or refused this request, where the stable answers in its place."""

BACKTEST_HEADER = "x-hotswap-backtest"
"""Of a request that is asked again, past Envoy, by a backtest or for the concurrent reference at 100%: the replica
answers it and keeps no record."""

MODEL_SECONDS_HEADER = "x-hotswap-model-seconds"
"""Of the answer to such a request: how long the model itself took, without the wait for its turn."""

CAUSE_HEADER = "x-hotswap-fallback-cause"
"""What the candidate did where the stable answers in its place: `failed` or `refused`."""

REFUSED_HEADER = "x-hotswap-refused"
"""Of a replica's answer: its version refuses what was asked. Another version may take it, so no client is told this."""

APPLICATION_HEADER = "x-hotswap-application"
"""Inside of Envoy: the cluster that is tried now."""

CANDIDATE_STATUS_HEADER = "x-hotswap-candidate-status"
"""Inside of Envoy: how the candidate's try ended, whoever made up its answer."""

CANDIDATE_REFUSED_HEADER = "x-hotswap-candidate-refused"
"""Inside of Envoy: the candidate's try ended with its replica's `REFUSED`."""

CLIENT_ADDRESS_HEADER = "x-hotswap-client-address"
"""Of a request to the API: who is at the other end of the public address."""

UNWATCHED_HEADER = "x-request-disconnect-disabled"
"""Ray Serve's own: with `?1` it has no task beside each request that watches for its client's leaving, an eighth of a
small model's time. `serving/engine.py` watches itself, and only where a prediction takes long enough to be given up.
"""

UNREAD_HEADERS = ("x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address")
"""Envoy's own that no replica reads: each costs one a hundredth of a small model's time."""

RAYS_HEADERS = ("serve-multiplexed-model-id", "x-session-id", "x-request-timeout-seconds")
"""What Ray Serve reads of a request before our application is asked. What is no UTF-8 there is its plain-text 500, and
the last is a time limit of the client's own. HotSwap uses none of them, so no replica is told. The names are held
against Ray's by tests/contracts.
"""

STEERING_PREFIX = "x-envoy-"
"""By these names a client could lead Envoy itself: time limits, retries, what is counted. Envoy takes most of them out
for a request from outside, but not its time limits: with 1 ms every version answers 504.
"""
STEERING_HEADERS = ("grpc-timeout",)
"""More that lead Envoy, by other names."""

ATTEMPT_HEADER = "x-envoy-attempt-count"
"""Envoy's own: which try of the request this is, counted from 1."""

AWAITED_HEADER = "x-envoy-expected-rq-timeout-ms"
"""Envoy's own: how long it waits for the answer."""

REQUEST_ID_HEADER = "x-request-id"

REASON_HEADER = "X-HotSwap-Reason"
"""Of a request to the API: why, for the audit log, where its body doesn't say."""

SUBJECT_HEADER = "x-hotswap-subject"
"""Inside of Envoy: whom the token names."""
