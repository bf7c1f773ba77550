"""The read service, ``recsys serve``: playlists over HTTP. See docs/serve.md.

It needs the extra ``serve`` (Starlette, uvicorn, prometheus-client); :mod:`recsys.serve.purge`,
which publishers call, needs the standard library alone.
"""
