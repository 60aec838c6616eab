"""Rented VMs."""
