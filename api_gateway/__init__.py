"""The stateless door: token check, round-robin proxy and upstream health."""
