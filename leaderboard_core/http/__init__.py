"""HTTP for every process: application, compiled routes, protocol, server and access log."""
