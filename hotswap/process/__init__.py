"""What each process of HotSwap is built on: its life from settings to SIGTERM, and its connections to others."""
