"""Test the real processes behind NGINX over HTTP."""
