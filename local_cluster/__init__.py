"""Kubernetes on one machine: the real control plane as processes, and a node that runs pods as processes.

For development, demos and tests. It isolates nothing and is not for production.
"""
