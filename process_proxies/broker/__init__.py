"""What a notebook is connected to: a broker for each kernel, which outlives pods."""
