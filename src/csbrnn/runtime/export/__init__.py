"""A model as a folder of plain C, to be built without csbrnn, Python or an allocator.

`c_export` is what users call. `names` makes identifiers, `sources` says which of the runtime's own
files an export holds, `templates` writes the rest from ``templates/``, `footprint` compiles it and
says what it needs, and `folder` puts it in place.
"""

from csbrnn.runtime.export.c_export import Export, Weights, export_c
from csbrnn.runtime.export.footprint import Footprint
from csbrnn.runtime.export.sources import exportable_isas, exported_sources

__all__ = [
    "Export",
    "Footprint",
    "Weights",
    "export_c",
    "exportable_isas",
    "exported_sources",
]
