"""How models and versions are registered, changed and validated, and their artifacts sent and removed."""
