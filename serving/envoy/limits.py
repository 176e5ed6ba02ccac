"""Limits on the size of a client's requests and on how many are open; `caller_rate_limit.py` limits how often."""

MOST_REQUEST_BYTES = 10 * 1024**2
"""The largest request, since one that may have to be sent a second time is kept until it is answered."""

MOST_HEADER_KILOBYTES = 32
"""A token of another issuer, with all its groups, is the largest header there is."""

MOST_HEADERS = 100

MOST_CONNECTIONS = 20_000
"""The most connections of one proxy; further ones are closed at once."""
