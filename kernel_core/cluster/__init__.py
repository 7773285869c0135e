"""The only room of kernel_core with I/O: the API server, watched and written to."""
