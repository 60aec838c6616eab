# %%
from datetime import date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

start = date(2024, 2, 28)
# %%
start + timedelta(days=2)
# %%
noon = datetime(2024, 7, 1, 12, tzinfo=ZoneInfo("America/New_York"))
noon.astimezone(timezone.utc)
# %%
f"{noon:%d %b %Y %H:%M %Z}"
# %%
(date(2024, 12, 25) - start).days
# %%
calendar = {start + timedelta(weeks=week): f"week {week}" for week in range(3)}
calendar
# %%
calendar.pop(start)
len(calendar)
# %%
from decimal import Decimal, getcontext

getcontext().prec = 6
# %%
Decimal(1) / Decimal(7)
# %%
from fractions import Fraction

Fraction(3, 4) + Fraction(1, 6)
# %%
import locale, time

time.strftime("%Y", time.gmtime(0))
