"""The routes of a local cloud take most of its start. The process from which clouds are forked makes them once."""

from lk_jupyter.localcloud import app
from lk_jupyter.localcloud.strange import Strange

ROUTED = app.routed(Strange())
routed = app.routed
app.routed = lambda strange: routed(strange) if strange.names else ROUTED
