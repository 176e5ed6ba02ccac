"""Sources of figures that are not HotSwap's own: Prometheus and webhooks, each a `hotswap.ports.Meter`."""
