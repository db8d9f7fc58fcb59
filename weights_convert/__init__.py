"""Published weight files to Flax trees and back: one table per origin, one strict engine.

`convert.import_file` and `convert.export_file` are the way in and out; the tables
(`keras_multif0`, `keras_voas`, `npy_2024`, `torch_2024`, `torch_2023`, `torch_unet`) are the
documentation of who calls what how. Nothing here runs what a file says.
"""

from weights_convert.convert import Imported, export_file, import_file, import_published
from weights_convert.tables import TABLES, table_of_kind

__all__ = [
    "TABLES",
    "Imported",
    "export_file",
    "import_file",
    "import_published",
    "table_of_kind",
]
