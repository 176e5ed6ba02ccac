"""Proof of judgement: named situations, each drawn many times, through the whole of what judges a candidate.

`requests.py` says what is asked and answered, `callers.py` who asks and when, `machines.py` and `versions.py` what may
go wrong. `world.py` stands for Envoy, `replicas.py` for Ray's replicas and `records.py` for PostgreSQL; `rollout.py`
drives the product's own parts over them, and `situations.py` is the table of them all.
"""
