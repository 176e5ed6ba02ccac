"""Tells people's own systems what happened."""
