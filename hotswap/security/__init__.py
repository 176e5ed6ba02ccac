"""Tokens: how they are signed and verified."""
