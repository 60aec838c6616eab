# %%
import logging

log = logging.getLogger("trial")
log.setLevel(logging.INFO)
# %%
import io

stream = io.StringIO()
handler = logging.StreamHandler(stream)
handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
log.addHandler(handler)
# %%
log.info("first")
log.debug("hidden")
# %%
stream.getvalue()
# %%
log.warning("second")
len(stream.getvalue().splitlines())
# %%
log.level, logging.getLevelName(log.level)
# %%
logging.getLogger().setLevel(logging.ERROR)
# %%
logging.getLogger().level
# %%
log.removeHandler(handler)
log.handlers
