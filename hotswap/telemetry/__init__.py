"""Logs and traces, and what of them travels from process to process."""
