"""One node's settings: the models of its TOML file, and how the file is read.

``models`` says what may stand in the file, ``links`` what a link is, ``loading`` how it is read and what a mistake is
called. What belongs to a driver stays a plain table here; the driver's own ``Settings`` check it.
"""

from qnoded.node_settings.keys import DeliverySettings, KeysSettings
from qnoded.node_settings.links import LinkSettings, TermsSettings
from qnoded.node_settings.loading import check_node, load_node, node_errors
from qnoded.node_settings.models import InstrumentSettings, NodeSection, NodeSettings, OperateSettings

__all__ = [
    "DeliverySettings",
    "InstrumentSettings",
    "KeysSettings",
    "LinkSettings",
    "NodeSection",
    "NodeSettings",
    "OperateSettings",
    "TermsSettings",
    "check_node",
    "load_node",
    "node_errors",
]
