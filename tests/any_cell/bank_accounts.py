# %%
class InsufficientFunds(Exception):
    pass

class Account:
    accounts = {}
    rate = 0.02

    def __init__(self, owner, balance=0):
        self.owner, self.balance = owner, balance
        self.accounts[owner] = self

    def withdraw(self, amount):
        if amount > self.balance:
            raise InsufficientFunds(f"{self.owner} has {self.balance}")
        self.balance -= amount
        return self

    @classmethod
    def total(cls):
        return sum(account.balance for account in cls.accounts.values())

    @staticmethod
    def currency():
        return "EUR"
# %%
ann, bob = Account("Ann", 100), Account("Bob", 50)
Account.total()
# %%
ann.withdraw(30).balance
# %%
bob.withdraw(80)
# %%
bob.balance, Account.accounts["Ann"] is ann
# %%
Account.rate = 0.05
ann.rate
# %%
class Savings(Account):
    def add_interest(self):
        self.balance = round(self.balance * (1 + self.rate), 2)
        return self.balance
# %%
rich = Savings("Cy", 1000)
rich.add_interest(), Account.total()
# %%
sorted(Account.accounts), Savings.currency()
# %%
def __repr__(self):
    return f"<{self.owner}: {self.balance}>"

Account.__repr__ = __repr__
# %%
[ann, rich]
