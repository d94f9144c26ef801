"""Clients that generators make of the OpenAPI document, each with a program that plays a whole life with it."""
