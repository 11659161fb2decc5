"""The page and its API: images are dropped in a browser, counted here, and seen there. FastAPI is needed."""
