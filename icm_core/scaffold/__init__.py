"""New packages: an installable plugin with one small component that works, a spec that uses it, and its tests."""

from icm_core.scaffold.package import KINDS, make_package, package_files

__all__ = ["KINDS", "make_package", "package_files"]
