"""Simulated machines and their volumes."""
