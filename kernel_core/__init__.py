"""What a kernel is, for every part that has to agree on it: no Jupyter, no hub, no gateway."""
