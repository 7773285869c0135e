"""The gateway: Enterprise Gateway with brokers instead of processes, and an owner for every kernel."""
