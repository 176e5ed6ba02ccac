"""Deployments, the queue before them, what they may take, and what they made active."""
