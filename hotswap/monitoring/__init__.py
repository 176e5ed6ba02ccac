"""Watches active versions: their outcomes, and the drift of what they are asked."""
