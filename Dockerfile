# The API, with the Studio at /studio. Every RUN and CMD is a line that is typed outside Docker, too; docs/docker.md tells how to use it.
#   docker compose up                                                     for this machine alone
#   docker build --build-arg TORCH=cuda --build-arg TORCH_INDEX=URL .     for a GPU, from an index with builds of torch
FROM python:3.12-slim

# make.py reads these: which build of torch (cpu or cuda), and a package index for torch alone
ARG TORCH=cpu
ARG TORCH_INDEX=

ENV PATH=/app/.venv/bin:$PATH HOME=/tmp MPLCONFIGDIR=/tmp/matplotlib PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
COPY make.py pyproject.toml constraints.txt README.md LICENSE ./
COPY src ./src
RUN python make.py install --extra serve

# Runs are mounted at /app/runs and only read
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
# Refuses to start without a token in MEZZOTINT_TOKEN: whoever runs this image decides who may ask
CMD ["mezzotint", "serve", "--host", "0.0.0.0", "--port", "8000"]
