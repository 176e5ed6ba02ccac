"""Modules that all subjects share: sessions, pages, locks, audit events, idempotency keys, service tokens."""
