"""The real processes with NGINX in front, driven over HTTP."""
