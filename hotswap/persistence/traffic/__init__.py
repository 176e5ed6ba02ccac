"""The traffic plan, and what the proxies counted."""
