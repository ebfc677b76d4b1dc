# One image for every role: the command says which. `demo` adds what the demonstration needs.
#   docker build --target service .
#   docker build --target service --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu130 .

FROM python:3.11-slim AS service

# Where torch comes from: the index of CPU builds unless told otherwise; empty for pip's own.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

RUN useradd --create-home --uid 10001 tandemcal \
    && mkdir /data \
    && chown tandemcal /data
WORKDIR /app
COPY constraints.txt ./
# The largest part by far, and the one that changes least.
RUN pip install --no-cache-dir --no-compile --constraint constraints.txt \
    ${TORCH_INDEX:+--extra-index-url $TORCH_INDEX} torch
COPY pyproject.toml README.md ./
COPY examples ./examples
COPY migrations ./migrations
COPY ltl_core ./ltl_core
COPY chip_sim ./chip_sim
COPY service ./service
COPY tandemcal ./tandemcal
RUN pip install --no-cache-dir --constraint constraints.txt '.[server]'

USER tandemcal
ENV TANDEMCAL_DATA_DIR=/data \
    TANDEMCAL_HOST=0.0.0.0 \
    PYTHONUNBUFFERED=1
VOLUME /data
ENTRYPOINT ["tandemcal"]
CMD ["up"]

FROM service AS demo

USER root
RUN pip install --no-cache-dir --constraint constraints.txt scikit-learn
USER tandemcal
ENTRYPOINT ["python", "examples/fleet_script.py"]
CMD []
