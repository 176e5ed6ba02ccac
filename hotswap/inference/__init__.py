"""Inference as HotSwap itself knows it: records of what was answered, and what is asked now and answered later."""
