"""A node that runs pods as processes: what stands in for the kubelet."""
