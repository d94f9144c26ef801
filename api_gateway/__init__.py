"""The stateless edge: token check, round-robin proxy, upstream health and the dashboard."""
