"""The headers by which clients, the API, Envoy and replicas speak of requests, versions and arms; all are named here.

Envoy alone says `ARM`, `CHOSEN_BY`, `FALLBACK`, `CAUSE`, `APPLICATION` and `CLIENT_ADDRESS`, and only who asks replicas
again, past Envoy, says `BACKTEST`: what a client sends under these names is overwritten or removed.
"""

VERSION_HEADER = "x-hotswap-version"
"""In a request: the version that is to answer. In an answer: the one that did."""

ENVIRONMENT_HEADER = "x-hotswap-environment"
ENTITY_HEADER = "x-entity-id"

ARM_HEADER = "x-hotswap-arm"
"""The arm that answers: the stable or the candidate."""

TESTER_HEADER = "x-hotswap-tester"
"""In a request: `true` asks for the candidate, whatever its weight."""

CHOSEN_BY_HEADER = "x-hotswap-chosen-by"
"""The way in which the arm was chosen: by weight, by version, or as a tester."""

FALLBACK_HEADER = "x-hotswap-fallback"
"""The candidate's version that failed or refused this request, where the stable answers in its place."""

BACKTEST_HEADER = "x-hotswap-backtest"
"""Marks a request that is sent again, past Envoy, by a backtest or for the concurrent reference at 100%: the replica
answers it and keeps no record.
"""

MODEL_SECONDS_HEADER = "x-hotswap-model-seconds"
"""In the answer to such a request: how long the model itself took, without the wait for its turn."""

CAUSE_HEADER = "x-hotswap-fallback-cause"
"""The candidate's fault when the stable answers in its place: `failed` or `refused`."""

REFUSED_HEADER = "x-hotswap-refused"
"""Marks a replica's answer: its version refuses the request. Another version may take it, so no client is told this."""

APPLICATION_HEADER = "x-hotswap-application"
"""Inside of Envoy: the cluster that is tried now."""

CANDIDATE_STATUS_HEADER = "x-hotswap-candidate-status"
"""Inside of Envoy: how the candidate's try ended, whoever made up its answer."""

CANDIDATE_REFUSED_HEADER = "x-hotswap-candidate-refused"
"""Inside of Envoy: the candidate's try ended with its replica's `REFUSED`."""

CLIENT_ADDRESS_HEADER = "x-hotswap-client-address"
"""In a request to the API: the client's address at the public address."""

UNWATCHED_HEADER = "x-request-disconnect-disabled"
"""Ray Serve's own: with `?1` it has no task beside each request that watches for its client's leaving, an eighth of a
small model's time. `serving/engine.py` watches itself, and only where a prediction takes long enough to be given up.
"""

UNREAD_HEADERS = ("x-forwarded-for", "x-forwarded-proto", "x-envoy-external-address")
"""Envoy's own that no replica reads: each costs one a hundredth of a small model's time."""

RAYS_HEADERS = ("serve-multiplexed-model-id", "x-session-id", "x-request-timeout-seconds")
"""Headers that Ray Serve reads before our application is called. Bytes there that are not UTF-8 are its plain-text 500,
and the last is a time limit of the client's own. HotSwap uses none of them, so no replica gets them. The names are held
against Ray's by tests/contracts.
"""

STEERING_PREFIX = "x-envoy-"
"""Headers by which a client could steer Envoy itself: time limits, retries, what is counted. Envoy takes most of them
out of a request from outside, but not its time limits: with 1 ms every version answers 504.
"""
STEERING_HEADERS = ("grpc-timeout",)
"""More that lead Envoy, by other names."""

ATTEMPT_HEADER = "x-envoy-attempt-count"
"""Envoy's own: which try of the request this is, counted from 1."""

AWAITED_HEADER = "x-envoy-expected-rq-timeout-ms"
"""Envoy's own: how long it waits for the answer."""

REQUEST_ID_HEADER = "x-request-id"

REASON_HEADER = "X-HotSwap-Reason"
"""In a request to the API: the reason, for the audit log, if its body doesn't give one."""

SUBJECT_HEADER = "x-hotswap-subject"
"""Inside of Envoy: whom the token names."""
