"""A node that runs pods as processes of this machine, in the kubelet's place."""
