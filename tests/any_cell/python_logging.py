# %%
import logging

log = logging.getLogger("trial")
log.setLevel(logging.INFO)
# %%
import io


def record(act):
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    log.addHandler(handler)
    act()
    log.removeHandler(handler)
    return stream.getvalue()
# %%
record(lambda: log.info("first"))
# %%
record(lambda: log.debug("hidden"))
# %%
len(record(lambda: log.warning("second")).splitlines())
# %%
log.level, logging.getLevelName(log.level)
# %%
logging.getLogger().setLevel(logging.ERROR)
# %%
logging.getLogger().level
# %%
log.handlers
