"""Every figure that HotSwap promises, measured beside its bar: `make bench`.

Each figure is compared with something measured in the same run, as a ratio where machines differ; the bars are what
was promised, not what was seen. Nothing here is a test: tests assert behavior, and none is timed.
"""
