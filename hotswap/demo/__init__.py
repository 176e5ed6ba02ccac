"""`hotswap demo`: the main job, end to end, on real servers and a real model."""
