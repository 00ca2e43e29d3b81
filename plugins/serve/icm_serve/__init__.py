"""An HTTP service around pipelines: pictures to `.icm` files, and files to what tasks say of them."""

from icm_serve.app import build_app
from icm_serve.limits import Limits

__all__ = ["Limits", "build_app"]
