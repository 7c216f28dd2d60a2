"""The Redis that comes along: found, started and owned by us.

``binary`` finds a server program, ``places`` says where its files are,
``ownership`` sees to one owner per data directory, ``server`` runs and
restarts it (``process`` is one run), ``launcher`` makes sure that it never
outlives its owner. Other processes only ``attach``. Standard library only:
this is on the way to the first answer of ``broker up``.
"""

from .errors import EmbeddedError
from .ownership import attach
from .places import default_data_dir
from .server import EmbeddedServer

__all__ = ["EmbeddedError", "EmbeddedServer", "attach", "default_data_dir"]
