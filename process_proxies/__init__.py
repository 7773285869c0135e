"""The process proxy, the broker behind it, and the gateway that hosts both."""
