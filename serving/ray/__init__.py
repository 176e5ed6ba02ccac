"""Everything that HotSwap asks of Ray: the client of its REST API, the state it reports, and the head it starts."""
