# A container that has every command of pointadapt, and serves adapters.
#   docker build -t pointadapt .                                        CPU
#   docker build -t pointadapt:cuda --build-arg TORCH=cu130 .           NVIDIA GPUs
#   docker run --rm -v "$PWD:/work" pointadapt predict incoming --adapter runs/scans/adapter
# docs/guides/deploy.md has more.

ARG PYTHON=3.12-slim

FROM python:${PYTHON} AS wheel
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:${PYTHON}
# A folder of download.pytorch.org/whl: cpu, or a version of CUDA such as cu130.
ARG TORCH=cpu
COPY constraints.txt /wheels/
RUN pip install --no-cache-dir -c /wheels/constraints.txt \
    --extra-index-url https://download.pytorch.org/whl/${TORCH} "torch==2.13.0+${TORCH}"
# Triton compiles its kernels for the GPU when they are first used.
RUN if [ "${TORCH}" != cpu ]; then \
    apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*; fi
COPY --from=wheel /wheels /wheels
RUN pip install --no-cache-dir -c /wheels/constraints.txt "$(echo /wheels/pointadapt-*.whl)[las,serve]"

RUN useradd --create-home --uid 1000 pointadapt && mkdir /cache && chown pointadapt /cache
USER pointadapt
ENV POINTADAPT_CACHE=/cache
WORKDIR /work
EXPOSE 8000
ENTRYPOINT ["pointadapt"]
CMD ["--help"]
