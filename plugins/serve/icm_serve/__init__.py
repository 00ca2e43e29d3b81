"""An HTTP service around pipelines: pictures to `.icm` files, and files to what tasks say of them.

`icm_serve.app.build_app` makes the service, `icm_serve.limits.Limits` says how much it takes on.
"""
