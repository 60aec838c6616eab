"""The ledger, prices, and money that comes in."""
