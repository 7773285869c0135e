"""The Hub's side: a KubeSpawner whose user servers leave kernels, and their GPUs, to the gateway."""
