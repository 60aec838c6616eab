# %%
import re

log = "2024-01-02 ERROR disk\n2024-01-03 INFO ok\n2024-01-04 ERROR net\n"
pattern = re.compile(r"(?P<day>\d{4}-\d\d-\d\d) (?P<level>\w+) (?P<what>\w+)")
# %%
matches = [match.groupdict() for match in pattern.finditer(log)]
matches
# %%
pattern.search(log)
# %%
pattern.search(log)["what"], pattern.search(log).span("level")
# %%
pattern.sub(r"\g<level>", log, count=1)
# %%
from collections import Counter, defaultdict

levels = Counter(match["level"] for match in matches)
levels
# %%
levels.update(["INFO"] * 3)
levels.most_common(1)
# %%
by_level = defaultdict(list)
for match in matches:
    by_level[match["level"]].append(match["day"])
by_level
# %%
by_level["WARN"].append("never")
sorted(by_level)
# %%
re.split(r"[,;]\s*", "a, b;c")
# %%
"{:>8}|{:<6.2f}|{:^5}".format("x", 3.14159, "m")
# %%
f"{len(log)=} {levels['ERROR']!r:>4}"
