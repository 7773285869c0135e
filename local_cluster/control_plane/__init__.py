"""Kubernetes' own etcd, API server, controller manager and scheduler."""
