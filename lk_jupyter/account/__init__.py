"""The account: balance, spending, keys, organizations, sign-in."""
