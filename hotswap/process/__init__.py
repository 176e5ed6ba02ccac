"""The base of each process of HotSwap: its life from settings to SIGTERM, and its connections to others."""
