"""New packages: an installable plugin with one small component that works, a spec that uses it, and its tests."""

from icm_core.scaffold.components import COMPONENTS, DATA_SETS, HEADS
from icm_core.scaffold.package import make_package, package_files

__all__ = ["COMPONENTS", "DATA_SETS", "HEADS", "make_package", "package_files"]
