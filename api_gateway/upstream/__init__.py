"""The services behind the gateway: rotation, health checks and the HTTP client."""
