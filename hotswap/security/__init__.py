"""Tokens: how they are signed, and what makes one believable."""
