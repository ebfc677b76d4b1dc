FROM python:3.11-slim

# More for pip, such as another index that holds a CPU build of torch.
ARG PIP_ARGS=""

RUN useradd --create-home --uid 10001 tandemcal \
    && mkdir /data && chown tandemcal /data
WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY migrations ./migrations
COPY ltl_core ./ltl_core
COPY chip_sim ./chip_sim
COPY service ./service
RUN pip install --no-cache-dir --constraint constraints.txt ${PIP_ARGS} '.[server]'

USER tandemcal
ENV TANDEMCAL_DATA_DIR=/data \
    TANDEMCAL_HOST=0.0.0.0 \
    TANDEMCAL_PORT=8765
VOLUME /data
EXPOSE 8765
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8765/readyz', timeout=2)"]
ENTRYPOINT ["tandemcal"]
CMD ["up"]
