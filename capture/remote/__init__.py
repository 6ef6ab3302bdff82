"""Results files and runs on other machines, opened by an address: `ssh://`, `https://`, `s3://`, `hf://`.

`address.py` names a file, `remote_file.py` reads it in blocks that memory and `block_cache.py` keep, and one module for
each kind of server fetches them. asyncssh, aiohttp and s3fs are imported when an address needs them.
"""
