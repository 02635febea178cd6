"""A model as a page: a folder whose index.html computes pictures in any browser, offline."""
